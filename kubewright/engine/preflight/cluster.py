"""What the findings follow from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kubewright.plan.model import Node, Plan
from kubewright.plan.observed import Observed
from kubewright.plan.peers import Doors
from kubewright.plan.role import Role


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """The plan and its hosts. `observed`: those that answered; `authorities`: ours, as PEM certificates."""

    plan: Plan
    roles: Sequence[Role]
    doors: Doors
    observed: Mapping[str, Observed]
    authorities: frozenset[str]

    @property
    def hosts(self) -> list[tuple[Node, Observed]]:
        return [(node, self.observed[node.name]) for node in self.plan.nodes if node.name in self.observed]
