"""Kubernetes objects that a task applies, with marks that are the evidence in the cluster. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from ruamel.yaml import YAML

from kubewright.observe import facts

KUBECTL_APPLY = (
    "/usr/local/bin/kubectl --kubeconfig=/etc/kubernetes/admin.conf apply --server-side --force-conflicts "
    '--field-manager=kubewright -f "$new" >/dev/null'
)
"""Applies the objects of a task, on a master. `$new`: its content."""


@dataclass(frozen=True, kw_only=True)
class Marked:
    """`content`: JSON, one object or a List of them. `evidence`: a fact for each object, see `desired.Task`."""

    content: bytes
    evidence: Mapping[str, str]


@cache
def marked(task: str, manifest: bytes) -> Marked:
    """The objects of a manifest in YAML, each with the task's name as a label and the manifest's sum as an annotation.

    Other programs may add labels and annotations to an object; only these two are compared.
    """
    objects = [o for o in YAML(typ="safe", pure=True).load_all(manifest) if o]
    sha = hashlib.sha256(manifest).hexdigest()
    for found in objects:
        metadata: dict[str, Any] = found["metadata"]
        metadata["labels"] = {**metadata.get("labels", {}), facts.TASK: task}
        metadata["annotations"] = {**metadata.get("annotations", {}), facts.APPLIED: sha}
    whole = objects[0] if len(objects) == 1 else {"apiVersion": "v1", "kind": "List", "items": objects}
    return Marked(
        content=f"{json.dumps(whole, indent=1)}\n".encode(),
        evidence={facts.of_object(o["kind"], o["metadata"]["name"]): sha for o in objects},
    )
