"""The processes on hosts for one run: its session, and each command, which may outlive it."""

from __future__ import annotations

from collections.abc import Callable

import gevent
from gevent.event import AsyncResult

from tests.simulation.faults import Killed, Weather
from tests.simulation.fleet import Fleet
from tests.simulation.shell import Ended

ACTS_FOR, WAITS_FOR = 900.0, 600.0
"""Seconds that SshHost waits for the end of a command, and a host for its lock."""

Work = Callable[[Callable[[], None]], None]
"""The work of a process; it calls its argument at each moment."""


class Session:
    """The state of one run on all hosts: its faults, and whether it is alive."""

    def __init__(self, fleet: Fleet, number: int, weather: Weather, units: frozenset[str]) -> None:
        self.fleet, self.number, self.weather, self.units = fleet, number, weather, units
        self.dead = False
        self.ticks = 0
        self.stops_left = 0
        self.processes: list[Process] = []

    def tick(self) -> None:
        """One tick of the run, in which it may be killed."""
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

    def __init__(self, session: Session, host: str, work: Work, steps: int | None) -> None:
        self.session, self.fleet, self.host, self.work, self.left = session, session.fleet, host, work, steps
        self.began = self.fleet.clock.now
        self.result = AsyncResult()
        self.greenlet = gevent.spawn(self._run)

    def orphaned(self, steps: int | None) -> None:
        """The run was killed: the process continues, or ends after so many steps."""
        if steps is not None:
            self.left = steps

    def _tick(self) -> None:
        self.session.tick()
        self.fleet.clock.sleep(self.fleet.random.uniform(0.01, 0.5))
        if self.fleet.clock.now > self.began + ACTS_FOR and not self.result.ready():
            self.result.set(Ended(-1, "the SSH connection broke (timeout)"))
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
                self.fleet.restarting = {r for r in self.fleet.restarting if r[0] != self.host}
            self._finish(None)
        except Ended as ended:
            self._finish(ended)
        except AssertionError as error:
            self.fleet.wrong(str(error))
            self._finish(Ended(1, str(error)))

    def _finish(self, ended: Ended | None) -> None:
        if not self.result.ready():
            self.result.set(ended)
