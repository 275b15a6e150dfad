"""Hosts in memory. To a run they behave like real ones: they are observed, receive payloads, and act."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from kubewright.errors import Failed
from kubewright.hosts.script import Staged
from kubewright.observe.observed import Observed
from kubewright.plan.desired import Payload


@dataclass(kw_only=True)
class FakeHost:
    """Shares a log with the other hosts; `acts` gets the staged changes and returns the host's new state."""

    name: str
    state: Observed
    log: list[tuple[str, str]]
    acts: Callable[[Observed], Observed] = lambda state: state
    fails_at: str = ""
    """`observe`, `push`, `hold` or `act`."""
    staged: list[Staged] = field(default_factory=list)
    pushed: list[Payload] = field(default_factory=list)
    scripts: list[str] = field(default_factory=list)
    says: str = ""
    """The answer to any `shell`."""
    held_by: str = ""
    recorded: list[str] = field(default_factory=list)
    commands: int = 0
    sent: int = 0

    def _said(self, what: str) -> None:
        self.commands += 1
        self.log.append((what, self.name))
        if self.fails_at == what:
            raise Failed(f"{self.name}: {what} failed")

    def observe(self) -> Observed:
        self._said("observe")
        return self.state

    def push(self, payloads: Sequence[Payload]) -> None:
        self._said("push")
        self.pushed += payloads

    def shell(self, script: str) -> str:
        self._said("shell")
        self.scripts.append(script)
        return self.says

    def read(self, paths: Sequence[str]) -> Mapping[str, bytes]:
        self._said("read")
        return dict.fromkeys(paths, b"")

    def hold(self, holder: str) -> str | None:
        if self.fails_at == "hold":
            raise Failed(f"{self.name}: hold failed")
        self.held_by, before = self.held_by or holder, self.held_by
        return before or None

    def let_go(self) -> None:
        self.held_by = ""

    def break_hold(self) -> None:
        self.held_by = ""

    def record(self, line: str) -> None:
        self.recorded.append(line)

    def act(self, staged: Staged) -> None:
        self._said("act")
        self.staged.append(staged)
        self.state = self.acts(self.state)
