"""How many CoreDNS pods a cluster has. Pure."""

from __future__ import annotations

from kubewright.model.cluster import Plan

NODES_PER_POD = 16
"""The proportion that Kubernetes' own DNS autoscaler begins with [kubernetes.io: autoscale the DNS service in a cluster]."""


def replicas(plan: Plan) -> int:
    """Two, more where there are more nodes, and never two on one node: the pods may not share a host.

    Nodes that are left out don't count, so that each pod has a host, and a rollout ends.
    """
    nodes = len([node for node in plan.kubelets if node.name not in plan.absent])
    return min(nodes, max(2, -(-nodes // NODES_PER_POD)))
