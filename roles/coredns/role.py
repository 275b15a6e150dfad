"""CoreDNS as a Deployment behind the cluster's fixed DNS address."""

from __future__ import annotations

from kubewright.model.cluster import Plan
from kubewright.plan.cluster_tasks import KUBECTL_APPLY, cluster_task
from kubewright.plan.context import Context, render
from kubewright.plan.desired import Desired
from kubewright.plan.role import Role, on_masters
from roles.coredns.checks import CHECKS

KUBECTL = "/usr/local/bin/kubectl --kubeconfig=/etc/kubernetes/admin.conf"
_OURS = f"{KUBECTL} -n kube-system"
# A recreated service account is another one: running pods still have tokens of the old one.
APPLY = f"""case $({_OURS} get deployment/coredns serviceaccount/coredns --ignore-not-found -o name) in
  deployment.apps/coredns) restart=1 ;;
  *) restart= ;;
esac
{KUBECTL_APPLY}
[ -z "$restart" ] || {_OURS} rollout restart deployment/coredns >/dev/null"""


def _replicas(plan: Plan) -> int:
    return min(2, len(plan.kubelets))


def _answers(plan: Plan) -> str:
    """Shell that waits until it serves: all replicas where there are hosts for them, else all but one."""
    there = [node for node in plan.kubelets if node.name not in plan.absent]
    how = "rollout status" if len(there) >= _replicas(plan) else "wait --for=condition=Available"
    return f"{_OURS} {how} deployment/coredns --timeout=120s >/dev/null"


def desired(context: Context) -> Desired:
    plan = context.plan
    if not context.acts_for_masters:
        return Desired()
    manifest = render(
        "coredns/coredns.yaml.j2",
        plan=plan,
        image=context.reference("coredns"),
        replicas=_replicas(plan),
        forwards=context.together.has_nameserver,
    )
    # It is done when it answers: a check right after it then holds.
    task = cluster_task("coredns", "apply CoreDNS", manifest, apply=f"{APPLY}\n{_answers(plan)}")
    return Desired(tasks=(task,))


ROLE = Role(
    name="coredns",
    runs_on=on_masters,
    after=("kubelet", "kube_proxy", "flannel"),
    images=("coredns",),
    desired=desired,
    checks=CHECKS,
)
