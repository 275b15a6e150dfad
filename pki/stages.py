"""The stages in the replacement of a key or an authority that a live cluster uses. Pure."""

from __future__ import annotations

import enum


class Stage(enum.StrEnum):
    """The stage of a replacement. All hosts must have a stage before the next one begins."""

    SETTLED = "settled"
    """There is only one."""
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
