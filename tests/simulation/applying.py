"""One `kubewright apply` over a fleet: each step on all hosts before the next, as pyinfra does it, until it ends or dies."""

from __future__ import annotations

from pathlib import Path

import gevent

from kubewright.errors import Problem
from kubewright.plan.move import Move, running
from kubewright.run import session as sessions
from kubewright.run.events import Event
from kubewright.run.run import Run
from kubewright.run.steps import Step, run_step, steps
from kubewright.verbs.upgrade import checks, skew
from tests.simulation.clusters import Cluster
from tests.simulation.faults import Weather
from tests.simulation.fleet import Fleet
from tests.simulation.host import SimHost
from tests.simulation.process import Session


def _further(run: Run) -> tuple[list[Problem], list[Problem]]:
    """Of the checks of a move only those that ask nothing."""
    if run.move is None:
        return [], []
    found = running(run.observed, run.live)
    return skew.findings(found, run.move), checks.silent(found, run.observed, run.live)


class Apply:
    """Begun at once; `over` once nothing more happens in it. Hosts go in the order of the seed."""

    def __init__(
        self,
        fleet: Fleet,
        cluster: Cluster,
        inventory: Path,
        weather: Weather,
        number: int,
        without: frozenset[str] = frozenset(),
        move: Move | None = None,
    ) -> None:
        self.fleet, self.cluster, self.inventory = fleet, cluster, inventory
        self.session = Session(fleet, number, weather, cluster.units)
        connections = sessions.Session(
            inventory=inventory, spec=cluster.spec, roles=cluster.roles, notify=self._notify, without=without,
            verb=move.verb if move else "apply",
        )  # fmt: skip
        waves = cluster.back if move and move.verb == "rollback" else cluster.waves
        self.run = Run(session=connections, waves=waves, move=move, further=_further)
        there = (node.name for node in self.run.plan.nodes if node.name not in without)
        self.run.hosts.update({name: SimHost(name, self.session) for name in there})
        self.ended_badly: Exception | None = None
        self._order = list(self.run.hosts)
        fleet.random.shuffle(self._order)
        self._steps: list[gevent.Greenlet] = []
        self._main = gevent.spawn(self._apply)

    @property
    def killed(self) -> bool:
        return self.session.dead

    @property
    def succeeded(self) -> bool:
        return not self.killed and self.run.failure is None and self.ended_badly is None

    def over(self) -> bool:
        if self.killed and not self._main.dead:
            gevent.killall([self._main, *self._steps], block=False)
        return bool(self._main.ready())

    def close(self) -> None:
        """The connections go, and with them what only they held."""
        for name in [n for n, held in self.fleet.held.items() if held[0] == self.session.number]:
            del self.fleet.held[name]

    def _notify(self, event: Event) -> None:
        if event.kind == "failed":
            self.fleet.happened("failure", self.session.number, event.host, event.step, event.text)

    def _apply(self) -> None:
        active = self._order
        for step in steps(self.run.waves):
            self._steps = [gevent.spawn(self._one, step, name) for name in active]
            gevent.joinall(self._steps)
            active = [name for name, one in zip(active, self._steps, strict=True) if one.value is True]
            if not active:
                break
        try:
            self.run.end()
        except Exception as error:
            self.ended_badly = error

    def _one(self, step: Step, name: str) -> bool:
        gevent.getcurrent().role = step.title
        try:
            run_step(self.run, step, name)
        except Exception:
            return False
        return True
