"""The services' range, once it is wider than the one that the cluster was made with: a second ServiceCIDR.

The ServiceCIDR `kubernetes` can't be changed; an apiserver whose flag differs from it reports that in an event, and keeps
working
[kubernetes: pkg/controlplane/controller/defaultservicecidr]. Services get addresses from every ServiceCIDR.
"""

from __future__ import annotations

import json

from kubewright.plan.context import Context
from kubewright.plan.desired import Desired, Task
from kubewright.plan.objects import KUBECTL_APPLY, marked
from kubewright.plan.role import Role, on_masters


def desired(context: Context) -> Desired:
    plan, lineage = context.plan, context.lineage
    if not context.acts_for_masters or lineage is None or lineage.first_services == str(plan.services):
        return Desired()
    found = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "ServiceCIDR",
        "metadata": {"name": "kubewright"},
        "spec": {"cidrs": [str(plan.services)]},
    }
    manifest = marked("service_range", json.dumps(found).encode())
    task = Task(
        title=f"give out Services' addresses from {plan.services}",
        content=manifest.content,
        apply=KUBECTL_APPLY,
        evidence=manifest.evidence,
    )
    return Desired(tasks=(task,))


ROLE = Role(name="service_range", runs_on=on_masters, after=("rbac",), desired=desired)
