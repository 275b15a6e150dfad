"""The events of a world, in order; the invariants are checked against them and the state at that moment."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class Happened:
    """`what`: act, acted, push, pushed, failure, refused, stop, ready, remove, task, killed."""

    at: float
    what: str
    run: int
    host: str = ""
    role: str = ""
    text: str = ""

    def __str__(self) -> str:
        return f"{self.at:8.1f} run {self.run} {self.what:8} {self.host:4} {self.role} {self.text}".rstrip()


@dataclass(kw_only=True)
class Log:
    events: list[Happened] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    """Violated invariants, each reported where it was found."""

    def of(self, *what: str, run: int | None = None) -> list[Happened]:
        return [e for e in self.events if e.what in what and run in (None, e.run)]
