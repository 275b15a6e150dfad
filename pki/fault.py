"""One fault of a certificate or key, or one property that not every client accepts."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Fault:
    """Without where: the caller knows the file or the host."""

    what: str
    allowed: str
    todo: str
