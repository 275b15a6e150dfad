"""The services' range, once it is wider than the one that the cluster was made with: a second ServiceCIDR.

The ServiceCIDR `kubernetes` can't be changed; an apiserver whose flag differs from it reports that in an event, and goes on
[kubernetes: pkg/controlplane/controller/defaultservicecidr]. Addresses are given out from every ServiceCIDR.
"""

from __future__ import annotations

import json

from kubewright.plan.context import Context
from kubewright.plan.desired import Desired, Directory, File
from kubewright.plan.role import Role, on_masters

PATH = "/etc/kubernetes/addons/service-range.json"
KUBECTL = "/usr/local/bin/kubectl --kubeconfig=/etc/kubernetes/admin.conf"


def desired(context: Context) -> Desired:
    plan, lineage = context.plan, context.lineage
    if context.node != plan.first_master or lineage is None or lineage.first_services == str(plan.services):
        return Desired()
    found = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "ServiceCIDR",
        "metadata": {"name": "kubewright", "labels": {"app.kubernetes.io/managed-by": "kubewright"}},
        "spec": {"cidrs": [str(plan.services)]},
    }
    manifest = File(
        path=PATH,
        content=json.dumps(found, indent=1).encode() + b"\n",
        apply=f'{KUBECTL} apply --server-side --field-manager=kubewright -f "$new" >/dev/null',
        title=f"give out Services' addresses from {plan.services}",
    )
    return Desired(directories=(Directory(path="/etc/kubernetes/addons"),), late=(manifest,))


ROLE = Role(name="service_range", runs_on=on_masters, after=("rbac",), desired=desired)
