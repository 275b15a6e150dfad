"""The record of what the cluster was made with: on masters and etcd hosts, and as a ConfigMap. Written after everything else."""

from __future__ import annotations

import json

from kubewright.plan.context import Context
from kubewright.plan.desired import Desired, Directory, File
from kubewright.plan.lineage import CONFIG_MAP, FILE, PATH
from kubewright.plan.model import Node
from kubewright.plan.role import Role

KUBECTL = "/usr/local/bin/kubectl --kubeconfig=/etc/kubernetes/admin.conf"
MANIFEST = "/etc/kubernetes/addons/lineage.json"


def _manifest(text: str) -> bytes:
    found = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": CONFIG_MAP, "namespace": "kube-system", "labels": {"app.kubernetes.io/managed-by": "kubewright"}},
        "data": {FILE: text},
    }
    return json.dumps(found, indent=1, sort_keys=True).encode() + b"\n"


def desired(context: Context) -> Desired:
    if context.lineage is None:
        return Desired()
    text = context.lineage.text()
    record = File(path=PATH, content=text.encode(), mode=0o600)
    if context.node != context.plan.first_master:
        return Desired(files=(record,))
    manifest = File(
        path=MANIFEST,
        content=_manifest(text),
        mode=0o600,
        apply=f'{KUBECTL} apply --server-side --force-conflicts --field-manager=kubewright -f "$new" >/dev/null',
        title="record in kube-system what the cluster was made with",
    )
    return Desired(directories=(Directory(path="/etc/kubernetes/addons"),), files=(record,), late=(manifest,))


def _keeps_the_record(node: Node) -> bool:
    return node.is_master or node.is_etcd


ROLE = Role(name="lineage", runs_on=_keeps_the_record, after=("coredns",), desired=desired, learns=True)
