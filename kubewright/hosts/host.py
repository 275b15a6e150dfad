"""One host: it can be observed, receive payloads, and carry out steps. Two implementations: SSH, and the tests' fleet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from kubewright.hosts.script import Staged
from kubewright.observe.observed import Observed
from kubewright.plan.desired import Payload


class Host(Protocol):
    """Every method raises `kubewright.errors.Failed`, which names the host and says what to do next."""

    name: str

    @property
    def commands(self) -> int:
        """The number of remote commands so far: tests limit round trips, not only seconds."""

    @property
    def sent(self) -> int:
        """Bytes sent so far."""

    def observe(self) -> Observed:
        """Observe the host. One command; changes nothing."""

    def push(self, payloads: Sequence[Payload]) -> None:
        """Send those payloads in one stream; each is checked against its sum before it is put in place."""

    def act(self, staged: Staged) -> None:
        """Carry out one step."""

    def shell(self, script: str) -> str:
        """Run a command as root. Its output; empty when it failed. One command."""

    def read(self, paths: Sequence[str]) -> Mapping[str, bytes]:
        """The content of those of `paths` that are regular files. One command."""

    def hold(self, holder: str) -> str | None:
        """Take the host's lock until `let_go` or the end of the connection: None, or the line of who has it."""

    def let_go(self) -> None:
        """Release the lock, if it is held."""

    def break_hold(self) -> None:
        """End the process that holds the lock."""

    def record(self, line: str) -> None:
        """Append `line` to the host's own journal."""
