"""Virtual time for greenlets: it advances only when all of them wait, so hours cost nothing and every seed can be replayed."""

from __future__ import annotations

import heapq
from collections.abc import Callable

import gevent
from gevent.event import Event

HOPS = 8
"""Turns of gevent's loop after which every runnable greenlet has run: a result, a link, a lock's notice, a switch."""
MOST_IDLE = 200
"""Rounds in which steps without a command may follow each other."""


class Stuck(AssertionError):
    """A deadlock: every greenlet waits for another."""


class Clock:
    """Seconds since the world began."""

    def __init__(self) -> None:
        self.now = 0.0
        self._number = 0
        self._waiting: list[tuple[float, int, Event]] = []

    def sleep(self, seconds: float) -> None:
        self._number += 1
        woken = Event()
        heapq.heappush(self._waiting, (self.now + seconds, self._number, woken))
        woken.wait()

    def run_until(self, done: Callable[[], bool]) -> None:
        """Run greenlets, and advance the time, until `done`."""
        idle = 0
        while not done():
            for _ in range(HOPS):
                gevent.sleep(0)
            if self._waiting:
                idle = 0
                self.now, _, woken = heapq.heappop(self._waiting)
                woken.set()
            elif (idle := idle + 1) > MOST_IDLE:
                raise Stuck("nobody waits for the time and the run is not done")
