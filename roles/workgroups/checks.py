"""The check that the workgroups are as cluster.yaml has them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from kubewright.model.cluster import Node, Plan
from kubewright.observe.objects import APPLIED, TASK, Ref
from kubewright.plan.role import Check
from kubewright.spec.quantity import value
from roles.workgroups.objects import objects

KUBECTL = "/usr/local/bin/kubectl --kubeconfig=/etc/kubernetes/admin.conf"
_KINDS = "namespaces,resourcequotas,limitranges,rolebindings"
NAME = "workgroups"


def _there(host: Any, plan: Plan, node: Node) -> None:
    if node != plan.first_master or not plan.workgroups:
        return
    answer = host.run(f"{KUBECTL} get {_KINDS} -A -l {TASK}={NAME} -o json")
    assert answer.rc == 0, answer.stderr
    found = {_key(item): item for item in json.loads(answer.stdout)["items"]}
    wanted = [(_key(one), one) for group in plan.workgroups for one in objects(group)]
    faults = [fault for key, one in wanted for fault in _faults(key, one, found.get(key))]
    # Without that annotation, nothing shows that kubewright applied it, so the next apply does.
    todo = f"kubewright kubectl -i INVENTORY -- annotate KIND NAME -n NAMESPACE {APPLIED}-, then kubewright apply"
    assert not faults, f"{'; '.join(faults)}; to repair an object: {todo}"


def _key(item: Mapping[str, Any]) -> str:
    metadata = item["metadata"]
    return str(Ref(kind=item["kind"], namespace=metadata.get("namespace", ""), name=metadata["name"]))


def _faults(key: str, wanted: Mapping[str, Any], found: Mapping[str, Any] | None) -> Iterator[str]:
    if found is None:
        yield f"{key} is missing"
        return
    if "deletionTimestamp" in found["metadata"]:
        yield f"{key} is being deleted"
    labels = found["metadata"].get("labels") or {}
    for label, level in wanted["metadata"].get("labels", {}).items():
        if labels.get(label) != level:
            yield f"{key} has {label}={labels.get(label, '')}, not {level}"
    if not _holds({k: wanted[k] for k in ("spec", "roleRef", "subjects") if k in wanted}, found):
        yield f"{key} differs from cluster.yaml"


def _holds(wanted: Any, found: Any) -> bool:
    """Whether `found` has all of `wanted`. The API adds defaults, and writes quantities in its own form."""
    if isinstance(wanted, Mapping):
        return isinstance(found, Mapping) and all(key in found and _holds(each, found[key]) for key, each in wanted.items())
    if isinstance(wanted, list):
        return isinstance(found, list) and len(found) == len(wanted) and all(map(_holds, wanted, found))
    return str(wanted) == str(found) or _same(str(wanted), str(found))


def _same(one: str, other: str) -> bool:
    try:
        return value(one) == value(other)
    except ValueError:
        return False


CHECKS = (Check(title="namespaces, quotas, limits and roles are those of cluster.yaml", run=_there),)
