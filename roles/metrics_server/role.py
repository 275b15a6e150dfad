"""The hosts' part of the add-on metrics-server: its serving certificate on masters, where its pods are.

It runs on the masters' own network: kubelets admit their addresses. The kubernetes CA signs its certificate, so renewals and
rotations reach it, and the apiserver verifies it.
"""

from __future__ import annotations

import json
from typing import Any

from kubewright.model.cluster import Node, Plan
from kubewright.plan.context import Context
from kubewright.plan.desired import Desired, Directory
from kubewright.plan.role import Check, Folder, Port, Role
from kubewright.releases.addons import METRICS_SERVER_PORT

NAME = "metrics-server"
FOLDER = "/etc/kubernetes/metrics-server"
KUBECTL = "/usr/local/bin/kubectl --kubeconfig=/etc/kubernetes/admin.conf --request-timeout=10s"


def _runs_on(node: Node) -> bool:
    return NAME in node.addons


def desired(context: Context) -> Desired:
    # A folder of its own, which its pods mount: a mounted file would stay the old one when the certificate is renewed.
    return Desired(directories=(Directory(path=FOLDER),), files=context.key_pair(NAME))


def ports(_plan: Plan, node: Node) -> tuple[Port, ...]:
    return (Port(number=METRICS_SERVER_PORT, process=NAME, addresses=(str(node.address),), clients="masters"),)


def _answers(host: Any, plan: Plan, node: Node) -> None:
    if node != plan.first_master:
        return
    answer = host.run(f"{KUBECTL} get --raw /apis/metrics.k8s.io/v1beta1/nodes")
    see = "see why: kubewright kubectl -i INVENTORY -- describe apiservice v1beta1.metrics.k8s.io"
    assert answer.rc == 0, f"the metrics API does not answer ({' '.join(answer.stderr.split())[-200:]}); {see}"
    known = {item["metadata"]["name"] for item in json.loads(answer.stdout)["items"]}
    missing = [n.name for n in plan.kubelets if n.name not in known and n.name not in plan.absent]
    logs = "kubewright kubectl -i INVENTORY -- -n kube-system logs daemonset/metrics-server"
    assert not missing, f"the metrics API has no metrics of {', '.join(missing)}; see why: {logs}"


ROLE = Role(
    name="metrics_server",
    runs_on=_runs_on,
    after=("coredns",),
    folders=(Folder(path=FOLDER),),
    desired=desired,
    ports=ports,
    checks=(Check(title="the metrics API knows every node", run=_answers),),
)
