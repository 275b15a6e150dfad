"""CoreDNS as a Deployment behind the cluster's fixed DNS address, for both providers.

Each provider has a ConfigMap of its own, so that pods of the other one never load a Corefile that they can't carry out.
"""

from __future__ import annotations

import hashlib

from kubewright.model.certificates import ROWS
from kubewright.model.cluster import Plan
from kubewright.plan.cluster_tasks import KUBECTL_APPLY, cluster_task
from kubewright.plan.context import Context, render
from kubewright.plan.desired import Desired
from kubewright.plan.role import Role, on_masters
from pki import trust
from pki.authorities import ETCD
from roles.coredns.checks import CHECKS
from roles.coredns.corefile import PKI, corefile
from roles.coredns.size import replicas

KUBECTL = "/usr/local/bin/kubectl --kubeconfig=/etc/kubernetes/admin.conf"
_OURS = f"{KUBECTL} -n kube-system"
# A recreated service account is another one: running pods still have tokens of the old one.
APPLY = f"""case $({_OURS} get deployment/coredns serviceaccount/coredns --ignore-not-found -o name) in
  deployment.apps/coredns) restart=1 ;;
  *) restart= ;;
esac
{KUBECTL_APPLY}
[ -z "$restart" ] || {_OURS} rollout restart deployment/coredns >/dev/null"""


def checksum(context: Context) -> str:
    """SHA-256 of what the pods read in the folder PKI, on all hosts. CoreDNS reads it at its start only, so they must roll."""
    row, held = ROWS["coredns-etcd"], [trust.bundle(context.certificates, ETCD.name)]
    held += [context.certificates[row.stored(node)].certificate.encode() for node in context.plan.nodes if row.on(node)]
    return hashlib.sha256(b"".join(held)).hexdigest()


def _answers(plan: Plan) -> str:
    """Shell that waits until it serves: all replicas where there are hosts for them, else all but one."""
    there, wanted = [node for node in plan.kubelets if node.name not in plan.absent], replicas(plan)
    how = "rollout status" if len(there) >= wanted else "wait --for=condition=Available"
    # They roll one after the other.
    return f"{_OURS} {how} deployment/coredns --timeout={60 * max(2, wanted)}s >/dev/null"


def desired(context: Context) -> Desired:
    plan = context.plan
    if not context.acts_for_masters:
        return Desired()
    manifest = render(
        "coredns/coredns.yaml.j2",
        plan=plan,
        image=context.reference("coredns"),
        replicas=replicas(plan),
        config="coredns-skydns" if plan.has_skydns else "coredns",
        corefile=corefile(plan, forwards=context.together.has_nameserver),
        pki=PKI if plan.has_skydns else "",
        checksum=checksum(context) if plan.has_skydns else "",
    )
    # It is done when it answers: a check right after it then holds.
    task = cluster_task("coredns", "apply CoreDNS", manifest, apply=f"{APPLY}\n{_answers(plan)}")
    return Desired(tasks=(task,))


ROLE = Role(
    name="coredns",
    runs_on=on_masters,
    after=("kubelet", "kube_proxy", "flannel", "coredns_certificates"),
    images=("coredns",),
    desired=desired,
    checks=CHECKS,
)
