"""Whether the plan can be carried out on the hosts as they are: every finding at once, before anything is written. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from kubewright.errors import Problem
from kubewright.run.preflight import host, network, others, space
from kubewright.run.preflight.cluster import Cluster
from kubewright.run.preflight.others import foreign

__all__ = ["Cluster", "foreign", "problems", "space"]


def problems(cluster: Cluster, now: Mapping[str, float]) -> tuple[Problem, ...]:
    """Findings on every host that answered. `now` is the operator's clock (Unix time) when each one was observed."""
    found: list[Problem] = []
    for node, observed in cluster.hosts:
        found += [*host.findings(cluster, node, observed, now[node.name]), *network.findings(cluster, node, observed)]
        found += others.findings(cluster, node, observed)
    return (*found, *others.clones(cluster), *network.blocked(cluster), *network.left_out(cluster))
