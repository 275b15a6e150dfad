"""The lineage record: on masters and etcd hosts, and as a ConfigMap. Written after everything else but add-ons."""

from __future__ import annotations

import json

from kubewright.model.cluster import Node
from kubewright.model.lineage import CONFIG_MAP, FILE, PATH
from kubewright.plan.cluster_tasks import cluster_task
from kubewright.plan.context import Context
from kubewright.plan.desired import Desired, File
from kubewright.plan.role import Role

NAME = "lineage"


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
        return Desired(undecided=(NAME,))
    text = context.lineage.text()
    record = File(path=PATH, content=text.encode(), mode=0o600)
    if not context.acts_for_masters:
        return Desired(files=(record,))
    task = cluster_task(NAME, "record in kube-system what the cluster was made with", _manifest(text))
    return Desired(files=(record,), tasks=(task,))


def _keeps_the_record(node: Node) -> bool:
    return node.is_master or node.is_etcd


ROLE = Role(name=NAME, runs_on=_keeps_the_record, after=("coredns",), desired=desired, learns=True)
