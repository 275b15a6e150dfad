"""Labels and taints of the nodes: set through the API, since a kubelet may not give itself a role's label."""

from __future__ import annotations

import json
from typing import Any

from kubewright.plan.context import Context
from kubewright.plan.desired import Desired, Directory, File
from kubewright.plan.model import Node, Plan
from kubewright.plan.role import Check, Role, on_kubelets

PATH = "/etc/kubernetes/addons/nodes"
KUBECTL = "/usr/local/bin/kubectl --kubeconfig=/etc/kubernetes/admin.conf"


def _lines(plan: Plan) -> list[str]:
    lines = []
    for node in plan.kubelets:
        lines += [f"label {node.name} {key}={value}" for key, value in sorted(node.labels.items())]
        lines += [f"taint {node.name} {taint}" for taint in sorted(node.taints)]
    return lines


# What stood in the file before and no longer does is taken back; the file is the memory of it. A label is its key's, a
# taint its key's and its effect's: a new value of the same one is no removal.
_APPLY = f"""
for node in $(awk '{{print $2}}' "$new" | sort -u); do
  i=0; until {KUBECTL} get node "$node" >/dev/null 2>&1; do
    i=$((i+1)); [ $i -lt 120 ] || {{ echo "node $node does not register" >&2; exit 1; }}; sleep 1
  done
done
[ ! -f "$path" ] || awk '
  function what(key, effect) {{
    key = $3; sub(/[=:].*/, "", key)
    effect = $3; sub(/.*:/, "", effect)
    return $1 == "taint" ? key ":" effect : key
  }}
  FILENAME == ARGV[1] {{ kept[$1, $2, what()]; next }}
  !(($1, $2, what()) in kept) {{ print $1, $2, what() }}
' "$new" "$path" | while read -r verb node what; do
  ! {KUBECTL} get node "$node" >/dev/null 2>&1 || {KUBECTL} "$verb" node "$node" "$what-" >/dev/null
done
while read -r verb node what; do {KUBECTL} "$verb" --overwrite node "$node" "$what" >/dev/null; done < "$new"
"""


def desired(context: Context) -> Desired:
    if context.node != context.plan.first_master:
        return Desired()
    content = "".join(f"{line}\n" for line in _lines(context.plan)).encode()
    nodes = File(path=PATH, content=content, apply=_APPLY, title="label and taint the nodes")
    return Desired(directories=(Directory(path="/etc/kubernetes/addons"),), late=(nodes,))


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
    if version != f"v{plan.release.kubernetes}":
        problems.append(f"{node.name} runs {version}, the spec says v{plan.release.kubernetes}")
    return problems


ROLE = Role(
    name="nodes",
    runs_on=on_kubelets,
    after=("kubelet",),
    desired=desired,
    checks=(Check(title="every node is Ready, at its address and version", run=_ready),),
)
