"""CoreDNS as a Deployment behind the cluster's fixed DNS address, for both providers.

Each provider has a ConfigMap of its own, so that pods of the other one never load a Corefile that they can't carry out.
"""

from __future__ import annotations

import hashlib

from kubewright.model.certificates import ROWS
from kubewright.model.cluster import Plan
from kubewright.observe.objects import APPLIED
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
BEGUN = "begun"
"""The sum of objects whose pods don't serve yet: their task is still due."""
# A recreated service account is another one: running pods still have tokens of the old one.
_BEGIN = f"""case $({_OURS} get deployment/coredns serviceaccount/coredns --ignore-not-found -o name) in
  deployment.apps/coredns) restart=1 ;;
  *) restart= ;;
esac
# The sum comes last, so that what failed or was interrupted is done again.
sed 's|"{APPLIED}": "[0-9a-f]*"|"{APPLIED}": "{BEGUN}"|' "$new" > "$here/begun"
"""
# The scheduler honours the anti-affinity of running pods too, terminating ones included.
_MAKE_ROOM = f"""# Pods of older versions admit no second one on their only host. The old one ends first: once, for seconds.
exclusive=$({_OURS} get pods -l k8s-app=kube-dns -o jsonpath='{{.items[*].spec.affinity.podAntiAffinity}}')
if [ -n "$exclusive" ]; then
  sed -i 's/"maxSurge": 1/"maxSurge": 0/; s/"maxUnavailable": 0/"maxUnavailable": 1/' "$here/begun"
fi
"""
_ROLL = f"""{KUBECTL_APPLY.replace("$new", "$here/begun")}
[ -z "$restart" ] || {_OURS} rollout restart deployment/coredns >/dev/null
"""


def checksum(context: Context) -> str:
    """SHA-256 of what the pods read in the folder PKI, on all hosts. CoreDNS reads it at its start only, so they must roll."""
    row, held = ROWS["coredns-etcd"], [trust.bundle(context.certificates, ETCD.name)]
    held += [context.certificates[row.stored(node)].certificate.encode() for node in context.plan.nodes if row.on(node)]
    return hashlib.sha256(b"".join(held)).hexdigest()


def _apply(plan: Plan) -> str:
    """Shell that applies the manifest, and is done when all pods serve: a check right after it then holds."""
    wanted = replicas(plan)
    # They roll one after the other.
    served = f"{_OURS} rollout status deployment/coredns --timeout={60 * max(2, wanted)}s >/dev/null\n"
    return f"{_BEGIN}{_MAKE_ROOM if wanted == 1 else ''}{_ROLL}{served}{KUBECTL_APPLY}"


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
        # A folder of its own for each mount: a volume in another one's folder needs a folder there.
        folder="/etc/coredns-config" if plan.has_skydns else "/etc/coredns",
        corefile=corefile(plan, forwards=context.together.has_nameserver),
        pki=PKI if plan.has_skydns else "",
        checksum=checksum(context) if plan.has_skydns else "",
    )
    task = cluster_task("coredns", "apply CoreDNS", manifest, apply=_apply(plan))
    return Desired(tasks=(task,))


ROLE = Role(
    name="coredns",
    runs_on=on_masters,
    after=("kubelet", "kube_proxy", "flannel", "coredns_certificates"),
    images=("coredns",),
    desired=desired,
    checks=CHECKS,
)
