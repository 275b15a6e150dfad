"""One `kubewright node add`, `remove` or `replace` over a fleet: several plans in one session, until it ends or dies."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import gevent

from kubewright.errors import Failed
from kubewright.run import session as sessions
from kubewright.run.run import Run
from kubewright.run.steps import steps
from kubewright.verbs.apply import Summary
from kubewright.verbs.members import Members, Outcome, Wanted
from tests.simulation.applying import Apply
from tests.simulation.clusters import Cluster
from tests.simulation.faults import Weather
from tests.simulation.fleet import Fleet


class Joining(Apply):
    """See `Apply`. `run` is the last plan's."""

    def __init__(
        self,
        fleet: Fleet,
        cluster: Cluster,
        inventory: Path,
        weather: Weather,
        number: int,
        wanted: Wanted,
        empty: Callable[[str], None],
    ) -> None:
        self.wanted, self._empty = wanted, empty
        self.outcome: Outcome | None = None
        self.failure: Exception | None = None
        super().__init__(fleet, cluster, inventory, weather, number, frozenset(wanted.leaving) if wanted.dead else frozenset())

    @property
    def succeeded(self) -> bool:
        return not self.killed and self.outcome is not None and self.outcome.failure is None and self.failure is None

    def _apply(self) -> None:
        session = self.run.session
        session.verb, session.lasting = self.wanted.verb, True
        try:
            jobs = [gevent.spawn(self._look, session, name) for name in session.hosts]
            gevent.joinall(jobs)
            if any(job.value is not True for job in jobs):
                raise Failed("not every host answers")
            members = Members(
                session=session, waves=self.cluster.waves, wanted=self.wanted, bring=self._bring, wipe=self._wipe
            )  # fmt: skip
            self.outcome = members.carry_out()
        except Exception as error:
            self.failure = error
        try:
            session.end(self.failure)
        except Exception as error:
            self.ended_badly = error

    @staticmethod
    def _look(session: sessions.Session, name: str) -> bool:
        try:
            session.see(name)
        except Exception:
            return False
        return True

    def _bring(self, run: Run) -> Summary:
        self.run = run
        active = [name for name in self._order if name in run.hosts]
        for step in steps(run.waves, run.only):
            self._steps = [gevent.spawn(self._one, step, name) for name in active]
            gevent.joinall(self._steps)
            active = [name for name, one in zip(active, self._steps, strict=True) if one.value is True]
            if not active:
                break
        run.end()
        return Summary(
            changed=run.changed, undone={}, unmanaged=(), without=(), seconds={}, total=0.0, commands={}, sent={},
            failure=run.failure,
        )  # fmt: skip

    def _wipe(self, name: str) -> None:
        self.session.tick()
        self.session.alive()
        services = self.fleet.machines[name].services
        for unit in services:
            services[unit].running = False
            self.session.tick()
        self.session.alive()
        self._empty(name)
