"""What a run tells the person who started it."""

from __future__ import annotations

from dataclasses import dataclass

from kubewright.errors import Failed


class Stopped(Failed):
    """Another host failed before: this one was left as it was."""


@dataclass(frozen=True, kw_only=True)
class Event:
    """Something a person may want to see: a step began, ended or failed on a host, or a line was said."""

    kind: str
    """`step`, `changed`, `failed`, `say`."""
    step: str = ""
    host: str = ""
    text: str = ""
    lines: tuple[str, ...] = ()


def nobody(_event: Event) -> None:
    """For a session that tells nobody."""
