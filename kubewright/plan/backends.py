"""flannel's backends: the hosts' part in a change from one to another, and the needs of each. Pure.

flanneld reads its backend from etcd when it starts, and writes it into its host's lease. It ignores leases of other backends
[flannel 0.28.9: pkg/backend/vxlan/vxlan_network.go and pkg/backend/route_network.go, handleSubnetEvents]. So during a change
the role pod_routes carries the pods' packets: see docs/decisions/0016-routes-of-our-own-while-flannels-backend-changes.md.
"""

from __future__ import annotations

from collections.abc import Mapping

from kubewright.model.cluster import Node, Plan
from kubewright.observe.observed import Observed
from kubewright.plan.together import Together

# One process for all addresses; an address without a route is a finding elsewhere.
_GATEWAYS = r"""s gateways
printf 'route get %s\n' ADDRESSES | ip -4 -o -force -batch - 2>/dev/null | sed -n 's/^\([0-9.]*\) via \([0-9.]*\) .*/\1 \2/p'"""
# In a network namespace of its own: nothing is left on the host.
_WIREGUARD = "s wireguard; unshare -n ip link add kubewright type wireguard 2>/dev/null || echo lacking"


UNIT = "kubewright-pod-routes.service"
"""It sets the routes of a change, on every host, until the change is complete."""


def question(plan: Plan, node: Node) -> str:
    """Shell for the observing command: whether the host meets its backend's needs. Empty where the backend needs nothing."""
    others = [str(n.address) for n in plan.kubelets if n != node]
    if not node.runs_pods:
        return ""
    if plan.backend == "wireguard":
        return _WIREGUARD
    return _GATEWAYS.replace("ADDRESSES", " ".join(others)) if plan.backend == "host-gw" and others else ""


def changing(plan: Plan, together: Together) -> bool:
    """Whether etcd, or a host's running flanneld, has another backend than `plan`: a change is to be made, or under way."""
    found = {together.backend, *(lease.backend for lease in together.subnets)}
    return bool(found - {"", plan.backend})


def under_way(plan: Plan, together: Together, observed: Mapping[str, Observed]) -> bool:
    """Whether a change is to be made, or began and is not complete. Without an answer of etcd, the unit on a host says so."""
    return changing(plan, together) or any(f"unit {UNIT}" in host.installed for host in observed.values())


def outdated(plan: Plan, together: Together, node: Node) -> bool:
    """Whether the host's flanneld started with another backend than the plan's."""
    lease = together.leases.get(str(node.address))
    return lease is not None and lease.backend != plan.backend
