"""What the findings follow from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from kubewright.model.cluster import Node, Plan
from kubewright.observe.observed import Observed
from kubewright.observe.text import certificates
from kubewright.plan.peers import PeerPorts
from kubewright.plan.role import Role
from pki.authorities import AUTHORITIES, SERVICE_ACCOUNT
from pki.store import Entry

TRUSTED = (*(a.name for a in AUTHORITIES), SERVICE_ACCOUNT)
"""What hosts trust, by its name in the store."""


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """The plan and its hosts. `observed`: those that answered; `entries`: the store's index, read after they did."""

    plan: Plan
    roles: Sequence[Role]
    peer_ports: PeerPorts
    observed: Mapping[str, Observed]
    entries: Mapping[str, Entry]

    @cached_property
    def authorities(self) -> frozenset[str]:
        """All that are ours, or ever were, as PEM."""
        # While one is rotated, and after, it has further rows: `ca/etcd/next`.
        rows = (e for name, e in self.entries.items() if any(f"{name}/".startswith(f"{n}/") for n in TRUSTED))
        return frozenset(found for entry in rows for found in certificates(entry.certificate))

    @property
    def hosts(self) -> list[tuple[Node, Observed]]:
        return [(node, self.observed[node.name]) for node in self.plan.nodes if node.name in self.observed]
