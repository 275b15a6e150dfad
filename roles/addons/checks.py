"""Checks of add-ons: each is applied, and its workloads are ready."""

from __future__ import annotations

import json
from typing import Any

from kubewright.model.cluster import Node, Plan
from kubewright.observe.objects import APPLIED
from kubewright.plan.role import Check
from kubewright.spec.addons import Manifests

KUBECTL = "/usr/local/bin/kubectl --kubeconfig=/etc/kubernetes/admin.conf --request-timeout=10s"
_KINDS = {"Deployment": "deployments.apps", "DaemonSet": "daemonsets.apps", "StatefulSet": "statefulsets.apps"}
_SEE = "kubewright kubectl -i INVENTORY --"


def _here(node: Node) -> bool:
    return node.applies_addons


def _ready(host: Any, plan: Plan, node: Node) -> None:
    if node != plan.first_master:
        return
    answer = host.run(f"{KUBECTL} get {','.join(_KINDS.values())} -A -l kubewright/addon -o json")
    assert answer.rc == 0, answer.stderr
    items = json.loads(answer.stdout)["items"]
    found = {(item["kind"], item["metadata"]["namespace"], item["metadata"]["name"]): item for item in items}
    problems = [problem for addon in plan.addons for problem in _problems(addon, found)]
    assert not problems, "; ".join(problems)


def _problems(addon: Manifests, found: dict[tuple[str, str, str], Any]) -> list[str]:
    problems = []
    for body in addon.objects:
        if body["kind"] not in _KINDS:
            continue
        kind, namespace, name = body["kind"], body["metadata"].get("namespace") or "default", body["metadata"]["name"]
        item = found.get((kind, namespace, name))
        if item is None:
            again = (
                f"{_SEE} -n kube-system annotate configmap addon-{addon.name} {APPLIED}=again --overwrite, then kubewright apply"
            )
            problems.append(f"{addon.name}: {kind} {namespace}/{name} is missing; to apply it again: {again}")
        elif (ready := _count(item)) is not None:
            why = f"{_SEE} -n {namespace} describe {kind.lower()} {name}"
            problems.append(f"{addon.name}: {kind} {namespace}/{name} has {ready} pods ready; see why: {why}")
    return problems


def _count(item: dict[str, Any]) -> str | None:
    """How many of its pods are ready, None when all are."""
    status = item.get("status", {})
    if item["kind"] == "DaemonSet":
        wanted, ready = status.get("desiredNumberScheduled", 0), status.get("numberReady", 0)
    else:
        wanted, ready = item["spec"].get("replicas", 1), status.get("readyReplicas", 0)
    return None if ready >= wanted else f"{ready} of {wanted}"


def _default_class(host: Any, plan: Plan, node: Node) -> None:
    if node != plan.first_master or "local-path" not in {addon.name for addon in plan.addons if not addon.own}:
        return
    default = "{.metadata.annotations.storageclass\\.kubernetes\\.io/is-default-class}"
    answer = host.run(f"{KUBECTL} get storageclass local-path -o jsonpath='{default}'")
    assert answer.rc == 0, answer.stderr
    assert answer.stdout.strip("'") == "true", f"local-path is not the default StorageClass; {_SEE} get storageclass"


CHECKS = (
    Check(title="every add-on's workloads are ready", run=_ready, on=_here),
    Check(title="local-path, if it is an add-on, is the default StorageClass", run=_default_class, on=_here),
)
