"""The services' range, once it is wider than the one that the cluster was made with: a second ServiceCIDR.

The ServiceCIDR `kubernetes` can't be changed; an apiserver whose flag differs from it reports that in an event, and serves
[kubernetes: pkg/controlplane/controller/defaultservicecidr]. Addresses are given out from every ServiceCIDR. `spec.cidrs` is
immutable [kubernetes: pkg/apis/networking/validation, ValidateServiceCIDRUpdate], so each wider range has an object of its own.
"""

from __future__ import annotations

import json

from kubewright.plan.cluster_tasks import cluster_task
from kubewright.plan.context import Context
from kubewright.plan.desired import Desired
from kubewright.plan.role import Role, on_masters
from roles.service_range.checks import CHECKS

NAME = "service_range"
_DASHES = str.maketrans("./", "--")


def desired(context: Context) -> Desired:
    plan, lineage = context.plan, context.lineage
    if lineage is None:
        return Desired(undecided=(NAME,))
    if not context.acts_for_masters or lineage.first_services == str(plan.services):
        return Desired()
    found = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "ServiceCIDR",
        "metadata": {"name": f"kubewright-{str(plan.services).translate(_DASHES)}"},
        "spec": {"cidrs": [str(plan.services)]},
    }
    title = f"give out Services' addresses from {plan.services}"
    return Desired(tasks=(cluster_task(NAME, title, json.dumps(found).encode()),))


ROLE = Role(name=NAME, runs_on=on_masters, after=("rbac",), desired=desired, checks=CHECKS)
