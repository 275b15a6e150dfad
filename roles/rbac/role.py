"""The bindings that a cluster of this PKI needs before its first administrator can do anything.

Only system:masters may create them, and no certificate has that group. The front proxy's certificate allows any user and
group, and masters have it, so this works with external CAs too.
"""

from __future__ import annotations

from kubewright.model.certificates import ADMINS
from kubewright.observe import facts
from kubewright.plan.context import Context, render
from kubewright.plan.desired import Desired, Task
from kubewright.plan.objects import marked
from kubewright.plan.role import Role, on_masters


def desired(context: Context) -> Desired:
    if not context.acts_for_masters:
        return Desired()
    binding = marked("rbac", render("rbac/rbac.yaml.j2", admins=ADMINS))
    api = f"{context.plan.local_api}{facts.PATHS['ClusterRoleBinding']}/{ADMINS}?fieldManager=kubewright&force=true"
    task = Task(
        title=f"bind {ADMINS} to cluster-admin",
        content=binding.content,
        # Server-side apply: creates or updates the objects, and records the owner of their fields.
        apply=(
            f"curl -fsS -m 30 {facts.AS_MASTER} -H 'Content-Type: application/apply-patch+yaml' -X PATCH "
            f"--data-binary @\"$new\" '{api}' >/dev/null"
        ),
        evidence=binding.evidence,
    )
    return Desired(tasks=(task,))


ROLE = Role(name="rbac", runs_on=on_masters, after=("apiserver",), desired=desired)
