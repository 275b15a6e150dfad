"""The lineage record: on masters and etcd hosts, and as a ConfigMap. Written after everything else."""

from __future__ import annotations

import json

from kubewright.model.cluster import Node
from kubewright.model.lineage import CONFIG_MAP, FILE, PATH
from kubewright.plan.context import Context
from kubewright.plan.desired import Desired, File, Task
from kubewright.plan.objects import KUBECTL_APPLY, marked
from kubewright.plan.role import Role


def _manifest(text: str) -> bytes:
    found = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": CONFIG_MAP, "namespace": "kube-system"},
        "data": {FILE: text},
    }
    return json.dumps(found, indent=1, sort_keys=True).encode() + b"\n"


def desired(context: Context) -> Desired:
    if context.lineage is None:
        return Desired()
    text = context.lineage.text()
    record = File(path=PATH, content=text.encode(), mode=0o600)
    if not context.acts_for_masters:
        return Desired(files=(record,))
    manifest = marked("lineage", _manifest(text))
    task = Task(
        title="record in kube-system what the cluster was made with",
        content=manifest.content,
        apply=KUBECTL_APPLY,
        evidence=manifest.evidence,
    )
    return Desired(files=(record,), tasks=(task,))


def _keeps_the_record(node: Node) -> bool:
    return node.is_master or node.is_etcd


ROLE = Role(name="lineage", runs_on=_keeps_the_record, after=("coredns",), desired=desired, learns=True)
