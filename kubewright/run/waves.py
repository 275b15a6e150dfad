"""Which hosts restart together. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from kubewright.plan.role import Role

SHARE = 10
"""A tenth of a role's hosts restarts at once, as a rolling update of a DaemonSet would have it."""


def width(role: Role, hosts: int) -> int:
    """How many of the `hosts` that a role runs on may restart at once."""
    return 1 if role.one_at_a_time else max(1, hosts // SHARE)


def batches(names: Sequence[str], width: int) -> list[tuple[str, ...]]:
    """`names` in their order, `width` at a time. The first host goes alone: what breaks it breaks no other."""
    return [tuple(names[:1]), *(tuple(names[at : at + width]) for at in range(1, len(names), width))] if names else []
