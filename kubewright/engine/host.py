"""One host, as the engine sees it: it can be observed, sent payloads, and act. Two implementations: SSH, and the tests' fleet."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from kubewright.engine.script import Staged
from kubewright.plan.desired import Payload
from kubewright.plan.observed import Observed


class Host(Protocol):
    """Every method raises `kubewright.errors.Failed`, which names the host and says what to do next."""

    name: str

    @property
    def commands(self) -> int:
        """Remote commands so far: round trips are counted, not only seconds."""

    @property
    def sent(self) -> int:
        """Bytes sent so far."""

    def observe(self) -> Observed:
        """What it says of itself now. One command; changes nothing."""

    def push(self, payloads: Sequence[Payload]) -> None:
        """Send those payloads in one stream; each is checked against its sum before it is put in place."""

    def act(self, staged: Staged) -> None:
        """Carry out one step."""
