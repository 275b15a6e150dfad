"""Direct routes to the pods of other hosts while flannel's backend changes: flanneld ignores hosts with another backend.

Each host gets two routes to each other host's pods, one for each half of the subnet. They are more specific than flannel's
routes, so they win, whatever flannel does on either host; a unit sets them again at boot. They are there before anything else
changes. Once every lease has the new backend they are leftovers: stopping the unit removes them, and a vxlan device that no
route uses. See docs/decisions/0016-routes-of-our-own-while-flannels-backend-changes.md.
"""

from __future__ import annotations

from ipaddress import IPv4Network
from typing import Any

from kubewright.model.cluster import Node, Plan
from kubewright.plan import backends
from kubewright.plan.context import Context
from kubewright.plan.desired import Desired, Unit
from kubewright.plan.role import Check, Role, on_kubelets

UNIT = backends.UNIT
SCRIPT = "/etc/flannel/pod-routes.sh"
PROTOCOL = 117
"""Marks the routes as ours: /etc/iproute2/rt_protos has no name for it."""


def routes(context: Context) -> tuple[tuple[str, str], ...]:
    """Each (range, gateway), for every other host that has a lease."""
    others = (n for n in context.plan.kubelets if n != context.node and str(n.address) in context.together.leases)
    return tuple(
        (str(half), str(other.address))
        for other in others
        for half in IPv4Network(context.together.leases[str(other.address)].subnet).subnets()
    )


def desired(context: Context) -> Desired:
    if not backends.changing(context.plan, context.together):
        return Desired()
    script = context.config(
        SCRIPT, "pod_routes/pod-routes.sh.j2", restarts=(UNIT,), mode=0o700, routes=routes(context), protocol=PROTOCOL
    )
    unit = context.unit_file(UNIT, "pod_routes/kubewright-pod-routes.service.j2", script=SCRIPT)
    # A restart would remove the routes for a moment.
    reloads = (SCRIPT, f"/etc/systemd/system/{UNIT}")
    return Desired(files=(script, unit), units=(Unit(name=UNIT, ready=f"systemctl is-active -q {UNIT}", reloads=reloads),))


def _finished(host: Any, _plan: Plan, _node: Node) -> None:
    state = host.run(f"systemctl is-enabled {UNIT}").stdout.strip()
    assert state != "enabled", (
        f"{UNIT} is enabled: a change of flannel's backend is not finished, and direct routes carry the pods' packets; "
        "run kubewright apply"
    )


ROLE = Role(
    name="pod_routes",
    runs_on=on_kubelets,
    units=(UNIT,),
    at_times=True,
    desired=desired,
    checks=(Check(title="no change of flannel's backend is under way", run=_finished),),
)
