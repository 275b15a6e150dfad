"""CoreDNS as a Deployment behind the cluster's fixed DNS address."""

from __future__ import annotations

from typing import Any

from kubewright.plan.context import Context, render
from kubewright.plan.desired import Desired, Directory, File
from kubewright.plan.model import Node, Plan
from kubewright.plan.role import Check, Role, on_masters

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


def _resolves(host: Any, plan: Plan, node: Node) -> None:
    if node != plan.first_master:
        return
    answer = host.run(f"{KUBECTL} -n kube-system get deployment coredns -o jsonpath='{{.status.readyReplicas}}'")
    ready, wanted = answer.stdout.strip("'") or "0", min(2, len(plan.kubelets))
    assert ready == str(wanted), f"{ready} of {wanted} replicas are ready {answer.stderr}".strip()


ROLE = Role(
    name="coredns",
    runs_on=on_masters,
    after=("kubelet", "kube_proxy", "flannel"),
    desired=desired,
    checks=(Check(title="all its replicas are ready", run=_resolves),),
)
