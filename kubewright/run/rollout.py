"""The waves of one run on its hosts: what goes at once, what goes in batches behind gates, what stops the rest."""

from __future__ import annotations

import contextlib
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import gevent
from gevent.lock import RLock

from kubewright.errors import Failed
from kubewright.hosts.script import records_of, stage
from kubewright.plan.changes import Changes
from kubewright.plan.leftovers import LEFTOVERS
from kubewright.plan.move import ETCD, UNITS
from kubewright.plan.role import Role
from kubewright.plan.wave import Wave
from kubewright.run import drain, etcd_version, leadership
from kubewright.run.events import Event, Stopped
from kubewright.run.nodes import Nodes
from kubewright.run.waves import batches, width

if TYPE_CHECKING:
    from kubewright.run.run import Run

Errors = dict[str, Exception]
"""By host: why it was not, or not wholly, changed."""


class Rollout:
    """See the module. It reads what differs from the run, and tells the run what failed."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self.nodes = Nodes(run)
        self._turns: defaultdict[str, RLock] = defaultdict(RLock)
        self._outcomes: dict[str, Errors] = {}
        self._tried: set[str] = set()
        self._holding: frozenset[str] = frozenset()
        """The nodes that were cordoned by an interrupted run when this wave began."""

    def carry_out(self, wave: Wave, name: str) -> None:
        """One wave on one host. Stopped when another host failed meanwhile; Failed when this one does.

        Whichever host comes first does it for all of them: who waits for whom then does not depend on how many hosts
        pyinfra works on at once.
        """
        with self._turns[wave.title]:
            if wave.title not in self._outcomes:
                if self._run.failure is None:
                    self._run.learn(self._to_learn(wave))
                    self._refuse_unknown_backend(wave)
                self._outcomes[wave.title] = self._everywhere(wave)
        if error := self._outcomes[wave.title].get(name):
            raise error

    def _to_learn(self, wave: Wave) -> list[str]:
        """The hosts to observe again before a wave."""
        if LEFTOVERS in wave.roles and self._run.changes_backend:
            # What the change needed is a leftover once every host has the new backend.
            return list(self._run.observed)
        move = self._run.move
        if move is not None and move.verb == "upgrade" and self._run.live.api is None and self._has_kubelets(wave):
            # The run began while the only apiserver was stopped: its nodes are known now, and drained.
            return list(self._run.observed)
        return [n for n in self._run.observed if self._pending(wave, n)] if any(r.learns for r in wave.roles) else []

    def _refuse_unknown_backend(self, wave: Wave) -> None:
        """Failed when etcd does not say whether a change of flannel's backend is complete: the routes of the change stay."""
        if LEFTOVERS in wave.roles and self._run.changes_backend and not self._run.together.backend:
            what = "flannel's backend can't be read from etcd, so the routes of its change stay"
            raise Failed(f"{what}; see kubewright verify, then run the same command again")

    def _pending(self, wave: Wave, name: str) -> Mapping[str, Changes]:
        """What the wave would change on that host, by role; empty when nothing."""
        found = {role.name: self._run.pending(role, name) for role in wave.roles}
        return {role: changes for role, changes in found.items() if changes}

    def _gated(self, wave: Wave, name: str) -> bool:
        return any(changes.gated for changes in self._pending(wave, name).values())

    def _everywhere(self, wave: Wave) -> Errors:
        """The wave on every host that needs it: starts at once, then restarts in batches."""
        errors: Errors = {}
        run = self._run
        due = [n.name for n in run.plan.nodes if n.name in run.observed and self._pending(wave, n.name)]
        gated = [name for name in due if self._gated(wave, name)]
        self._prepare_etcd(wave, errors)
        at_once = [gevent.spawn(self._one, wave, name, errors) for name in due if name not in gated]
        gevent.joinall(at_once, raise_error=True)
        # A restart that did not end well goes before one that may: what is broken is repaired before more is touched. The
        # leader of etcd goes last: it transfers its leadership once then (decision 0006).
        held = self._holding = self._held(wave)
        for name in sorted(held - {*gated}):
            self._let_go(wave, name, errors)
        gated.sort(key=lambda name: (name not in held, not self._interrupted(wave, name), run.observed[name].etcd_leads))
        for batch in batches(gated, self._width(wave, gated)):
            self._batch(wave, batch, errors)
        return errors

    def _held(self, wave: Wave) -> frozenset[str]:
        """In the wave of the kubelets: the nodes that an interrupted move has left cordoned."""
        run = self._run
        here = run.move is not None and run.session.locked and self._has_kubelets(wave)
        return drain.held(run) if here else frozenset()

    @staticmethod
    def _has_kubelets(wave: Wave) -> bool:
        return any(UNITS["kubelet"] in role.units for role in wave.roles)

    def _let_go(self, wave: Wave, name: str, errors: Errors) -> None:
        """A held node on which nothing is left to do: the move went the other way when it had been drained, or what the
        interrupted run had begun has ended. It takes pods again, before others are drained."""
        role = next(role for role in wave.roles if UNITS["kubelet"] in role.units)
        with self._caught(role, name, errors):
            self._check()
            drain.refill(self._run, name)
            self._run.note(role.name, name, (f"let {name} take pods again",))

    def _prepare_etcd(self, wave: Wave, errors: Errors) -> None:
        """Also where no member changes any more: a downgrade that an interrupted rollback enabled is to be cancelled."""
        run = self._run
        role = next((role for role in wave.roles if role.name == ETCD), None)
        if run.move is None or role is None or run.failure is not None or not run.session.locked:
            return
        with self._caught(role, run.plan.first_member.name, errors):
            etcd_version.prepare(run, run.move)

    def _interrupted(self, wave: Wave, name: str) -> bool:
        pending = self._pending(wave, name)
        units = [unit for role in wave.roles if role.name in pending and pending[role.name].gated for unit in role.units]
        return any(unit not in self._run.observed[name].started_with for unit in units)

    def _width(self, wave: Wave, names: Sequence[str]) -> int:
        changes = [(role, found) for n in names for role in wave.roles if (found := self._run.pending(role, n)).gated]
        # How many nodes may be drained at once is for people to say.
        if self._run.move is not None and any(change.unit.drained for _, found in changes for change in found.units):
            return self._run.move.max_unavailable
        restarting = {role.name: role for role, _ in changes}.values()
        return min((width(role, sum(map(role.runs_on, self._run.plan.nodes))) for role in restarting), default=1)

    def _batch(self, wave: Wave, names: Sequence[str], errors: Errors) -> None:
        """Restart on these hosts at once, when the other nodes are as well as they were."""
        needed = [role for role in wave.roles if role.pods_need and any(self._run.pending(role, n).gated for n in names)]
        if needed and self._run.failure is None:
            with self._caught(needed[0], names[0], errors):
                self.nodes.gate(names)
        gevent.joinall([gevent.spawn(self._one, wave, name, errors) for name in names], raise_error=True)

    def _one(self, wave: Wave, name: str, errors: Errors) -> None:
        """The roles of the wave on one host, in order, on a drained node where that is needed. The first failure ends them."""
        run, drained, begun = self._run, False, False
        for role in wave.roles:
            if not run.pending(role, name):
                continue
            with self._caught(role, name, errors):
                self._check()
                if not begun:
                    begun, drained = True, self._ready(wave, name)
                if run.pending(role, name).gated:
                    leadership.transfer(run, role, name)
                self._check()  # another host may have failed while this node was drained
                self._act(role, name, run.pending(role, name), drained=drained)
            if name in errors:
                if drained and isinstance(errors[name], Stopped):
                    self._give_back(name)
                return
        if drained:
            self._refill(wave, name, errors)
        elif name in self._holding:
            self._let_go(wave, name, errors)

    def _ready(self, wave: Wave, name: str) -> bool:
        """Before the first change of the wave on a host. Whether its node was drained for it."""
        if self._gated(wave, name):
            # What serves is stopped only for a difference that is there at this moment.
            self._run.session.see(name)
            self._check()
        return any(drain.empty(self._run, name, changes) for _, changes in self._drained(wave, name))

    def _drained(self, wave: Wave, name: str) -> list[tuple[Role, Changes]]:
        """The roles whose units start on a drained node only."""
        found = [(role, self._run.pending(role, name)) for role in wave.roles]
        return [(role, changes) for role, changes in found if any(u.unit.drained for u in changes.units)]

    def _give_back(self, name: str) -> None:
        """Another host failed, and nothing is wrong with this one: its node takes pods until the next run drains it again."""
        with contextlib.suppress(Failed):
            drain.refill(self._run, name)

    def _refill(self, wave: Wave, name: str, errors: Errors) -> None:
        """The node takes pods again. Only then is remembered that the units were started: a run that is killed before drains
        it again."""
        for role, changes in self._drained(wave, name):
            with self._caught(role, name, errors):
                drain.refill(self._run, name)
                self._check()
                self._run.hosts[name].act(records_of(changes))

    @contextlib.contextmanager
    def _caught(self, role: Role, name: str, errors: Errors) -> Iterator[None]:
        """What is raised becomes the host's error, and the first one the run's failure."""
        try:
            yield
        except Stopped as stopped:
            errors.setdefault(name, stopped)
        except Exception as error:  # whatever it is, no other host is touched after it
            errors[name] = error
            if self._run.failure is None:
                self._run.failure = error
                self._run.session.notify(Event(kind="failed", step=role.name, host=name, text=str(error)))

    def _act(self, role: Role, name: str, pending: Changes, *, drained: bool) -> None:
        if not pending:
            return
        run, began = self._run, time.monotonic()
        host = run.hosts[name]
        if pending.payloads:
            host.push(pending.payloads)
        if replace(pending, payloads=()):
            # Noted before the act: what fails of it stops the run.
            if role.pods_need and pending.gated:
                self.nodes.restarted.add(name)
            trials = pending.tries - self._tried
            later = drained and any(u.unit.drained for u in pending.units)
            host.act(stage(pending, run.context(name).system, run.content, trials, remember=not later))
            self._tried |= trials
        run.note(role.name, name, pending.sentences())
        took = f"{time.monotonic() - began:.1f} s"
        run.session.notify(Event(kind="changed", step=role.name, host=name, text=took, lines=pending.sentences()))

    def _check(self) -> None:
        if self._run.failure is not None:
            raise Stopped("not changed, because another host failed")
