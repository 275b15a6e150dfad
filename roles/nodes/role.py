"""Labels and taints of the nodes: set through the API, since a kubelet may not give itself a role's label."""

from __future__ import annotations

import json
from typing import Any

from kubewright.model.cluster import Node, Plan
from kubewright.observe import facts
from kubewright.plan.context import Context, render
from kubewright.plan.desired import ClusterTask, Desired
from kubewright.plan.role import Check, Role, on_kubelets

KUBECTL = "/usr/local/bin/kubectl --kubeconfig=/etc/kubernetes/admin.conf"
# The node as observed, with values that a patch must keep: the version that was read, and the time of each taint.
_COLUMNS = (
    "{{.metadata.name}}",
    "{{.metadata.resourceVersion}}",
    facts.LABELS,
    facts.TAINTS.replace("{{.effect}}", "{{.effect}}{{with .timeAdded}}@{{.}}{{end}}"),
    facts.OWNED,
)
TEMPLATE = "{{range .items}}" + '{{"\\t"}}'.join(_COLUMNS) + '{{"\\n"}}{{end}}'


def _here(context: Context) -> list[Node]:
    """The nodes to set; of left-out hosts only those that the cluster has."""
    absent = context.plan.absent - context.together.nodes
    return [node for node in context.plan.kubelets if node.name not in absent]


def _taints(node: Node) -> list[tuple[str, str, str]]:
    return sorted(map(facts.taint, node.taints))


def _owned(node: Node) -> str:
    return ",".join((*sorted(node.labels), *(f"{key}:{effect}" for key, _, effect in _taints(node))))


def _lines(node: Node) -> list[str]:
    lines = [f"node {node.name} {_owned(node)}".rstrip()]
    lines += [f"label {node.name} {key}={value}" for key, value in sorted(node.labels.items())]
    return lines + [f"taint {node.name} {key}{f'={value}' if value else ''}:{effect}" for key, value, effect in _taints(node)]


def _evidence(node: Node) -> dict[str, str]:
    found = {facts.of_label(node.name, key): value for key, value in sorted(node.labels.items())}
    found |= {facts.of_taint(node.name, key, effect): value for key, value, effect in _taints(node)}
    return {**found, facts.of_owned(node.name): _owned(node)}


def desired(context: Context) -> Desired:
    if not context.acts_for_masters:
        return Desired()
    nodes = _here(context)
    task = ClusterTask(
        title="label and taint the nodes",
        content="".join(f"{line}\n" for node in nodes for line in _lines(node)).encode(),
        apply=render(
            "nodes/set.sh.j2",
            owns=facts.OWNS,
            pki="/etc/kubernetes/pki",
            kubectl=KUBECTL,
            api=context.plan.local_api,
            node_lines=TEMPLATE,
        ).decode(),
        evidence={about: value for node in nodes for about, value in _evidence(node).items()},
    )
    return Desired(tasks=(task,))


def _ready(host: Any, plan: Plan, node: Node) -> None:
    if node != plan.first_master:
        return
    answer = host.run(f"{KUBECTL} get nodes -o json")
    assert answer.rc == 0, answer.stderr
    found = {item["metadata"]["name"]: item for item in json.loads(answer.stdout)["items"]}
    problems = [p for n in plan.kubelets for p in _problems(n, found.get(n.name), plan)]
    assert not problems, "; ".join(problems)


def _problems(node: Node, item: dict[str, Any] | None, plan: Plan) -> list[str]:
    if item is None:
        return [f"{node.name} is not registered"]
    status = item["status"]
    ready = {c["type"]: c["status"] for c in status["conditions"]}.get("Ready")
    addresses = [a["address"] for a in status["addresses"] if a["type"] == "InternalIP"]
    version = status["nodeInfo"]["kubeletVersion"]
    problems = [] if ready == "True" else [f"{node.name} is not Ready ({ready})"]
    if addresses != [str(node.address)]:
        problems.append(f"{node.name}'s InternalIP is {addresses}, the spec says {node.address}")
    if version != f"v{node.release.kubernetes}":
        problems.append(f"{node.name} runs {version}, the plan says v{node.release.kubernetes}")
    return problems


ROLE = Role(
    name="nodes",
    runs_on=on_kubelets,
    after=("kubelet",),
    desired=desired,
    checks=(Check(title="every node is Ready, at its address and version", run=_ready),),
)
