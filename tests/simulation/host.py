"""`Host` over a machine in memory: commands are processes of their own there, and outlive a run that dies."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import gevent
from gevent.event import AsyncResult

from kubewright.engine.script import Staged
from kubewright.errors import Failed
from kubewright.plan.desired import Payload
from kubewright.plan.observed import Observed
from tests.simulation.faults import Fault, Killed, Weather
from tests.simulation.fleet import Fleet
from tests.simulation.shell import Ended, Shell

OBSERVES_FOR, WAITS_FOR = 60.0, 600.0
"""Seconds that SshHost waits for an answer to `observe`, and a host for its lock."""


class Session:
    """What all hosts of one run share: its weather and whether it lives."""

    def __init__(self, fleet: Fleet, number: int, weather: Weather, units: frozenset[str]) -> None:
        self.fleet, self.number, self.weather, self.units = fleet, number, weather, units
        self.dead = False
        self.ticks = 0
        self.stops_left = 0
        self.processes: list[Process] = []

    def tick(self) -> None:
        """A moment of the run passes; in one of them it may be killed."""
        self.ticks += 1
        if self.weather.killed_after is not None and self.ticks > self.weather.killed_after and not self.dead:
            self.dead = True
            self.fleet.happened("killed", self.number)
            for process in self.processes:
                process.orphaned(self.weather.random.choice((None, None, 0, 3)))

    def alive(self) -> None:
        if self.dead:
            raise Killed


class Process:
    """One command on a host, under the host's lock."""

    def __init__(self, session: Session, host: str, work: Callable[[Callable[[], None]], None], steps: int | None) -> None:
        self.session, self.fleet, self.host, self.work, self.left = session, session.fleet, host, work, steps
        self.over = False
        self.result = AsyncResult()
        self.greenlet = gevent.spawn(self._run)

    def orphaned(self, steps: int | None) -> None:
        """The run is dead: it goes on, or ends after so many steps."""
        if steps is not None:
            self.left = steps

    def _tick(self) -> None:
        self.session.tick()
        self.fleet.clock.sleep(self.fleet.random.uniform(0.01, 0.5))
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                raise Ended(137, "ended from outside")

    def _run(self) -> None:
        until = self.fleet.clock.now + WAITS_FOR
        try:
            while self.host in self.fleet.at_work:
                if self.fleet.clock.now > until:
                    raise Ended(71, "another run is still at work on this host")
                self.fleet.clock.sleep(1)
            self.fleet.at_work[self.host] = self
            try:
                self.work(self._tick)
            finally:
                del self.fleet.at_work[self.host]
            self._finish(None)
        except Ended as ended:
            self._finish(ended)
        except AssertionError as error:
            self.fleet.wrong(str(error))
            self._finish(Ended(1, str(error)))

    def _finish(self, ended: Ended | None) -> None:
        self.over = True
        if not self.result.ready():
            self.result.set(ended)


class SimHost:
    """See `kubewright.engine.host.Host`."""

    def __init__(self, name: str, session: Session) -> None:
        self.name, self.session, self.fleet = name, session, session.fleet
        self.commands = self.sent = 0
        self.gone = False

    def _command(self, *kinds: str) -> Fault | None:
        """One round trip begins. Failed when the connection is not there any more."""
        self.session.alive()
        self.commands += 1
        self.session.tick()
        self.fleet.clock.sleep(self.fleet.random.uniform(0.005, 0.2))
        self.session.alive()
        fault = self.session.weather.fault(*kinds)
        if fault is not None and fault.kind == "refuse":
            self.gone = self.gone or self.session.weather.random.random() < 0.5
            raise Failed(f"{self.name}: the command was not taken")
        if self.gone:
            raise Failed(f"{self.name}: the SSH connection broke")
        return fault

    def _carry_out(self, work: Callable[[Callable[[], None]], None], fault: Fault | None) -> None:
        process = Process(self.session, self.name, work, fault.steps if fault else None)
        self.session.processes.append(process)
        if fault is not None and fault.kind == "lose":
            gevent.spawn(self._lose, process, fault.seconds)
        ended = process.result.get()
        self.session.alive()
        if isinstance(ended, Ended):
            raise Failed(f"{self.name}: {ended}")

    def _lose(self, process: Process, seconds: float) -> None:
        self.fleet.clock.sleep(seconds)
        if not process.result.ready():
            self.gone = True
            process.result.set(Ended(-1, "the SSH connection broke"))

    @property
    def _role(self) -> str:
        return getattr(gevent.getcurrent(), "role", "")

    def observe(self) -> Observed:
        self._command("refuse")
        until = self.fleet.clock.now + OBSERVES_FOR
        while self.name in self.fleet.at_work:
            if self.fleet.clock.now > until:
                raise Failed(f"{self.name}: the SSH connection broke (timeout)")
            self.fleet.clock.sleep(1)
            self.session.alive()
        return self.fleet.machines[self.name].observe(self.session.units, self.fleet.clock.now)

    def push(self, payloads: Sequence[Payload]) -> None:
        machine, role = self.fleet.machines[self.name], self._role

        def work(tick: Callable[[], None]) -> None:
            for payload in payloads:
                tick()
                machine.write(f"{payload.path}.new", b"", mode=payload.mode)
                tick()
                machine.remove(f"{payload.path}.new")
                machine.write(payload.path, b"", mode=payload.mode)
                machine.resize(payload.path, payload.size)
                tick()
                machine.manifest[payload.path] = (payload.sha256, payload.size)

        self.fleet.happened("push", self.session.number, self.name, role)
        self._carry_out(work, self._command("refuse", "fail", "lose"))
        self.fleet.happened("pushed", self.session.number, self.name, role)

    def act(self, staged: Staged) -> None:
        role = self._role
        self.fleet.happened("act", self.session.number, self.name, role)
        fault = self._command("refuse", "fail", "lose")

        def work(tick: Callable[[], None]) -> None:
            Shell(self.fleet, self.name, staged, self.session.number, tick).execute()

        self._carry_out(work, fault)
        self.fleet.happened("acted", self.session.number, self.name, role)

    def read(self, paths: Sequence[str]) -> Mapping[str, bytes]:
        self._command("refuse")
        contents = self.fleet.machines[self.name].contents
        return {path: contents[path] for path in paths if path in contents}

    def hold(self, holder: str) -> str | None:
        self._command("refuse")
        held = self.fleet.held.setdefault(self.name, (self.session.number, holder))
        return None if held[0] == self.session.number else f"{held[1]} pid=1"

    def let_go(self) -> None:
        self.session.alive()
        if self.fleet.held.get(self.name, (None, ""))[0] == self.session.number:
            del self.fleet.held[self.name]

    def break_hold(self) -> None:
        self._command("refuse")
        self.fleet.held.pop(self.name, None)

    def record(self, line: str) -> None:
        self._command("refuse")
        self.fleet.machines[self.name].journal.append(line)
