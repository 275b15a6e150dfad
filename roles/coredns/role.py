"""CoreDNS as a Deployment behind the cluster's fixed DNS address."""

from __future__ import annotations

from kubewright.plan.context import Context, render
from kubewright.plan.desired import Desired, Directory, File
from kubewright.plan.role import Role, on_masters
from roles.coredns.checks import CHECKS

KUBECTL = "/usr/local/bin/kubectl --kubeconfig=/etc/kubernetes/admin.conf"
ROLLED_OUT = f"{KUBECTL} -n kube-system rollout status deployment/coredns --timeout=120s >/dev/null"


def desired(context: Context) -> Desired:
    plan = context.plan
    if context.node != plan.first_master:
        return Desired()
    manifest = File(
        path="/etc/kubernetes/addons/coredns.yaml",
        content=render(
            "coredns/coredns.yaml.j2",
            plan=plan,
            image=context.bundle.image("coredns").reference,
            replicas=min(2, len(plan.kubelets)),
            forwards=context.observed.has_nameserver,
        ),
        # Done is when it answers: whoever looks right after sees a cluster that is whole.
        apply=f'{KUBECTL} apply -f "$new" >/dev/null\n{ROLLED_OUT}',
        title="apply CoreDNS",
    )
    return Desired(directories=(Directory(path="/etc/kubernetes/addons"),), late=(manifest,))


ROLE = Role(
    name="coredns",
    runs_on=on_masters,
    after=("kubelet", "kube_proxy", "flannel"),
    desired=desired,
    checks=CHECKS,
)
