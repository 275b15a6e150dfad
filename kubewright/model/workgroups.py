"""Workgroups in the plan."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Workgroup:
    """A namespace for a group of people. Quantities are as cluster.yaml has them."""

    name: str
    """Of the namespace."""
    quota: Mapping[str, str]
    limits: Mapping[str, Mapping[str, str]]
    """Of a container, as a LimitRange has them: default, defaultRequest, max and min. Empty ones are left out."""
    pod_security: str
    people: Mapping[str, str]
    """Users and their ClusterRole."""

    @property
    def roles(self) -> Mapping[str, tuple[str, ...]]:
        """The people of each ClusterRole, sorted."""
        return {role: tuple(sorted(u for u, r in self.people.items() if r == role)) for role in sorted({*self.people.values()})}
