"""The faults of a run, and their times, drawn from one seed."""

from __future__ import annotations

import random
from dataclasses import dataclass

import gevent


class Killed(gevent.GreenletExit):  # type: ignore[misc]
    """The run's process was killed: it executes nothing after this."""


@dataclass(frozen=True, kw_only=True)
class Fault:
    """`kind`: refuse (the command never begins), fail (it ends with an error after `steps`), lose (the connection breaks
    after `seconds`, and the command ends after `steps`, or completes when that is None)."""

    kind: str
    steps: int | None = None
    seconds: float = 0.0


@dataclass(kw_only=True)
class Weather:
    """The faults of one run. `chance`: the probability for each command; `killed_after`: the number of ticks before a kill
    of the run."""

    random: random.Random
    chance: float = 0.0
    killed_after: int | None = None

    def fault(self, *kinds: str) -> Fault | None:
        if self.random.random() >= self.chance:
            return None
        kind = self.random.choice(kinds)
        steps = self.random.randint(0, 30) if kind == "fail" or self.random.random() < 0.3 else None
        return Fault(kind=kind, steps=steps, seconds=self.random.uniform(0, 20))


def calm(source: random.Random) -> Weather:
    return Weather(random=source)


def rough(source: random.Random) -> Weather:
    """Some runs are killed, some have faults, some both."""
    killed = source.randint(0, source.choice((20, 200, 900, 900))) if source.random() < 0.7 else None
    return Weather(random=source, chance=source.choice((0.0, 0.01, 0.03, 0.08)), killed_after=killed)
