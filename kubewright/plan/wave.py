"""A wave: what a deploy is a list of. A role is data about a component; a wave says which roles hosts get together."""

from __future__ import annotations

from dataclasses import dataclass

from kubewright.plan.role import Role


@dataclass(frozen=True, kw_only=True)
class Wave:
    """Hosts are the outer loop: a batch of hosts gets every role of the wave, in order, before the next batch begins.

    All hosts are finished before the next wave begins. Hosts on which nothing that serves is restarted go at once; restarts go
    in batches, as wide as the roles that restart allow (`run/waves.py`).
    """

    title: str
    roles: tuple[Role, ...]
    last: bool = False
    """Comes even after the removal of leftovers, so that its failure keeps nothing else from being done."""


def wave(*roles: Role, title: str = "", last: bool = False) -> Wave:
    """The wave of `roles`; called as its first role where no title is given."""
    return Wave(title=title or roles[0].name, roles=roles, last=last)


def roles_of(waves: tuple[Wave, ...]) -> tuple[Role, ...]:
    """Every role, in order."""
    return tuple(role for one in waves for role in one.roles)
