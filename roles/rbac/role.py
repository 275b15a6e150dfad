"""The bindings that a cluster of this PKI needs before its first administrator can do anything.

Only system:masters may create them, and no certificate has that group. The front proxy's certificate allows any user and
group, and masters have it, so this works with external CAs too.
"""

from __future__ import annotations

from kubewright.model.certificates import ADMINS
from kubewright.observe.objects import AS_MASTER, KINDS, MANAGER
from kubewright.plan.cluster_tasks import cluster_task
from kubewright.plan.context import Context, render
from kubewright.plan.desired import Desired
from kubewright.plan.role import Role, on_masters


def desired(context: Context) -> Desired:
    if not context.acts_for_masters:
        return Desired()
    api = f"{context.plan.local_api}{KINDS['ClusterRoleBinding'].path}/{ADMINS}?fieldManager={MANAGER}&force=true"
    task = cluster_task(
        "rbac",
        f"bind {ADMINS} to cluster-admin",
        render("rbac/rbac.yaml.j2", admins=ADMINS),
        # Server-side apply, as kubectl does it: admin.conf has no rights before.
        apply=(
            f"curl -fsS -m 30 {AS_MASTER} -H 'Content-Type: application/apply-patch+yaml' -X PATCH "
            f"--data-binary @\"$new\" '{api}' >/dev/null"
        ),
    )
    return Desired(tasks=(task,))


ROLE = Role(name="rbac", runs_on=on_masters, after=("apiserver",), desired=desired)
