"""kube2sky's rights in the API: it reads Services and EndpointSlices, and has a lease.

A role of its own, because a role's objects come after its units, and kube2sky is not ready without its rights.
"""

from __future__ import annotations

from kubewright.model.certificates import ROWS
from kubewright.model.cluster import Node
from kubewright.plan.cluster_tasks import cluster_task
from kubewright.plan.context import Context, render
from kubewright.plan.desired import Desired
from kubewright.plan.role import Role


def manifest() -> bytes:
    return render("kube2sky_rights/rbac.yaml.j2", user=ROWS["kube2sky-client"].common_name, lease="kube2sky")


def runs_on(node: Node) -> bool:
    return node.is_master and node.has_skydns


def desired(context: Context) -> Desired:
    if not context.acts_for_masters:
        return Desired()
    return Desired(tasks=(cluster_task("kube2sky", "let kube2sky read Services and EndpointSlices", manifest()),))


ROLE = Role(name="kube2sky_rights", runs_on=runs_on, after=("rbac",), desired=desired)
