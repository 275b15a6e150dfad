"""Kubernetes objects as cluster tasks: a manifest to apply, and objects to remove. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

from ruamel.yaml import YAML

from kubewright.observe.objects import APPLIED, KINDS, MANAGER, TASK, Listed, Ref
from kubewright.plan.context import Context
from kubewright.plan.desired import ClusterTask, Desired

KUBECTL_APPLY = (
    "/usr/local/bin/kubectl --kubeconfig=/etc/kubernetes/admin.conf apply --server-side --force-conflicts "
    f'--field-manager={MANAGER} -f "$new" >/dev/null'
)
"""Applies all objects of a task, on a master. `$new`: its content."""


@cache
def cluster_task(name: str, title: str, manifest: bytes, *, apply: str = KUBECTL_APPLY) -> ClusterTask:
    """The task that applies a manifest in YAML. Each object gets `name` as the label TASK and the manifest's checksum as the
    annotation APPLIED: those are its evidence. Other people may add labels and annotations."""
    objects = [o for o in YAML(typ="safe", pure=True).load_all(manifest) if o]
    sha = hashlib.sha256(manifest).hexdigest()
    for found in objects:
        metadata: dict[str, Any] = found["metadata"]
        metadata["labels"] = {**metadata.get("labels", {}), TASK: name}
        metadata["annotations"] = {**metadata.get("annotations", {}), APPLIED: sha}
    whole = objects[0] if len(objects) == 1 else {"apiVersion": "v1", "kind": "List", "items": objects}
    refs = tuple(map(_ref, objects))
    return ClusterTask(
        title=title,
        content=f"{json.dumps(whole, indent=1)}\n".encode(),
        apply=apply,
        evidence={str(ref): sha for ref in refs},
        objects=refs,
    )


def _ref(found: dict[str, Any]) -> Ref:
    kind, metadata = found["kind"], found["metadata"]
    if KINDS[kind].namespaced != bool(metadata.get("namespace")):
        raise ValueError(f"{kind} {metadata['name']}: {'without' if KINDS[kind].namespaced else 'with'} a namespace")
    return Ref(kind=kind, namespace=metadata.get("namespace", ""), name=metadata["name"])


def unwanted(parts: Iterable[Desired], context: Context) -> tuple[Listed, ...]:
    """The objects that kubewright applied and that no task of `parts`, all of a host's roles, wants.

    Whatever task their label names: it may be one of an older version. None on other hosts than the one that acts, and none
    when the API did not list all kinds.
    """
    parts = tuple(parts)
    wanted = {ref for desired in parts for task in desired.tasks for ref in task.objects}
    undecided = {name for desired in parts for name in desired.undecided}
    # A cluster always wants its first binding: without any object, these are not all of its roles.
    if not context.acts_for_masters or not wanted:
        return ()
    found = [o for o in context.observed.objects if o.owned and o.ref not in wanted and o.task not in undecided]
    order = list(KINDS)
    found.sort(key=lambda o: order.index(o.ref.kind), reverse=True)
    return tuple(o for o in found if not KINDS[o.ref.kind].kept)


_REMOVE = """# 404: it is gone. 409: its UID is another one, so this is a new object, which is not kubewright's.
curl -q -K "$new" > "$here/answers"
if failed=$(grep -Ev '^(200|202|404|409) ' "$here/answers"); then
  printf 'not removed (HTTP status, address):\\n%s\\n' "$failed" >&2
  exit 1
fi"""
_PKI = "/etc/kubernetes/pki"


def removal(objects: Sequence[Listed], api: str) -> ClusterTask:
    """The task that removes those objects and no later ones of their names, all over one connection. kubectl has no
    preconditions."""
    return ClusterTask(
        title="remove the objects that no task wants",
        content="next\n".join(_request(found, api) for found in objects).encode(),
        apply=_REMOVE,
        evidence={},
        removes=tuple(found.ref for found in objects),
    )


def _request(found: Listed, api: str) -> str:
    """A request, as curl's configuration file has it. Each has all its own options."""
    options = {
        "url": f"{api}{found.ref.path}",
        "request": "DELETE",
        "header": "Content-Type: application/json",
        "data": json.dumps(
            {
                "apiVersion": "v1",
                "kind": "DeleteOptions",
                "propagationPolicy": "Background",
                "preconditions": {"uid": found.uid},
            }
        ),
        "cacert": f"{_PKI}/ca.crt",
        "cert": f"{_PKI}/admin.crt",
        "key": f"{_PKI}/admin.key",
        "noproxy": "*",
        "max-time": "30",
        "output": "/dev/null",
        "write-out": "%{http_code} %{url_effective}\n",
    }
    return "".join(f"{option} = {json.dumps(value)}\n" for option, value in options.items()) + "silent\nshow-error\n"
