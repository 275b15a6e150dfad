"""The stages in which a key or an authority that a live cluster uses is replaced, so that it is never without one. Pure."""

from __future__ import annotations

import enum


class Stage(enum.StrEnum):
    """How far a replacement is. In each stage all hosts first get what the stage says; then the next one may begin."""

    SETTLED = "settled"
    """There is one, and no other."""
    INTRODUCED = "introduced"
    """The new one is accepted everywhere, the old one is used."""
    SWITCHED = "switched"
    """The new one is used, the old one is still accepted."""
    RETIRED = "retired"
    """The old one is no longer accepted; some hosts may not know yet."""

    @property
    def following(self) -> Stage:
        order = list(Stage)
        return order[(order.index(self) + 1) % len(order)]
