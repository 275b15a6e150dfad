"""CoreDNS as a Deployment behind the cluster's fixed DNS address, for both providers.

Each provider has a ConfigMap of its own, so that pods of the other one never load a Corefile that they can't carry out.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace

from kubewright.model.certificates import ROWS
from kubewright.plan.cluster_tasks import cluster_task
from kubewright.plan.context import Context, render
from kubewright.plan.desired import Desired
from kubewright.plan.role import Role, on_masters
from pki import trust
from pki.authorities import ETCD
from roles.coredns.apply import shell
from roles.coredns.checks import CHECKS
from roles.coredns.corefile import PKI, corefile
from roles.coredns.size import replicas


def checksum(context: Context) -> str:
    """SHA-256 of what the pods read in the folder PKI, on all hosts. CoreDNS reads it at its start only, so they must roll."""
    row, held = ROWS["coredns-etcd"], [trust.bundle(context.certificates, ETCD.name)]
    held += [context.certificates[row.stored(node)].certificate.encode() for node in context.plan.nodes if row.on(node)]
    return hashlib.sha256(b"".join(held)).hexdigest()


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
    task = cluster_task("coredns", "apply CoreDNS", manifest)
    return Desired(tasks=(replace(task, apply=shell(plan, json.loads(task.content)["items"])),))


ROLE = Role(
    name="coredns",
    runs_on=on_masters,
    after=("kubelet", "kube_proxy", "flannel", "coredns_certificates"),
    images=("coredns",),
    desired=desired,
    checks=CHECKS,
)
