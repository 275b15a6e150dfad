"""A folder of Kubernetes manifests: the objects in its files, or everything that is wrong with them.

Values are read as kubectl reads them, in YAML 1.1: `0644` is a number in octal, `on` is true.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.constructor import SafeConstructor
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from kubewright.errors import BadInput, Problem
from kubewright.spec.addons import FOLDER, Addon, Manifests
from kubewright.spec.wording import shown

VALUES = "values.yaml"
"""In the folder of a built-in add-on: the values for its manifests."""
SUFFIXES = (".yaml", ".yml", ".json")
CRD = "CustomResourceDefinition"

CLUSTER_WIDE = frozenset(
    [
        "Namespace",
        "Node",
        "PersistentVolume",
        "ComponentStatus",
        "ClusterRole",
        "ClusterRoleBinding",
        "CustomResourceDefinition",
        "APIService",
        "MutatingWebhookConfiguration",
        "ValidatingWebhookConfiguration",
        "ValidatingAdmissionPolicy",
        "ValidatingAdmissionPolicyBinding",
        "MutatingAdmissionPolicy",
        "MutatingAdmissionPolicyBinding",
        "CertificateSigningRequest",
        "ClusterTrustBundle",
        "IngressClass",
        "IPAddress",
        "ServiceCIDR",
        "RuntimeClass",
        "DeviceClass",
        "ResourceSlice",
        "PriorityClass",
        "StorageClass",
        "CSIDriver",
        "CSINode",
        "VolumeAttachment",
        "VolumeAttributesClass",
        "FlowSchema",
        "PriorityLevelConfiguration",
        "StorageVersionMigration",
    ]
)
NAMESPACED = frozenset(
    [
        "ServiceAccount",
        "Secret",
        "ConfigMap",
        "PersistentVolumeClaim",
        "Pod",
        "PodTemplate",
        "ReplicationController",
        "Service",
        "Endpoints",
        "EndpointSlice",
        "LimitRange",
        "ResourceQuota",
        "Event",
        "Deployment",
        "DaemonSet",
        "StatefulSet",
        "ReplicaSet",
        "ControllerRevision",
        "Job",
        "CronJob",
        "Role",
        "RoleBinding",
        "HorizontalPodAutoscaler",
        "Ingress",
        "NetworkPolicy",
        "PodDisruptionBudget",
        "Lease",
        "ResourceClaim",
        "ResourceClaimTemplate",
        "CSIStorageCapacity",
    ]
)
"""Kubernetes' own kinds."""


class _Constructor(SafeConstructor):
    """Dates and numbers in base 60 (22:30) stay text, as they do for kubectl."""

    def construct_yaml_int(self, node: Any) -> Any:
        return node.value if ":" in node.value else super().construct_yaml_int(node)

    def construct_yaml_float(self, node: Any) -> Any:
        return node.value if ":" in node.value else super().construct_yaml_float(node)


_Constructor.add_constructor("tag:yaml.org,2002:timestamp", SafeConstructor.construct_yaml_str)
_Constructor.add_constructor("tag:yaml.org,2002:int", _Constructor.construct_yaml_int)
_Constructor.add_constructor("tag:yaml.org,2002:float", _Constructor.construct_yaml_float)


@dataclass(frozen=True, kw_only=True)
class Found:
    """One object, and its file with its number there."""

    where: str
    body: dict[str, Any]

    @property
    def ref(self) -> tuple[str, str, str, str]:
        """Its identity: API group, kind, namespace, name."""
        metadata = self.body["metadata"]
        group = self.body["apiVersion"].rpartition("/")[0]
        return group, self.body["kind"], metadata.get("namespace", ""), metadata["name"]


def of(addon: Addon) -> Manifests:
    """The add-on with its objects. BadInput with every problem."""
    found, problems = read(addon.folder)
    if problems:
        raise BadInput(problems)
    return Manifests(name=addon.name, own=addon.own, text=json.dumps([each.body for each in found]))


def read(folder: Path) -> tuple[list[Found], list[Problem]]:
    """Every usable object, file by file in the order of their paths, and everything that is wrong."""
    try:
        files = sorted(p for p in folder.rglob("*") if p.suffix in SUFFIXES and p.is_file() and not _hidden(p, folder))
    except OSError as error:
        return [], [_problem(str(folder), f"can't be read ({(error.strerror or 'unreadable').lower()})", "a folder")]
    if not folder.is_dir():
        why = "not a folder" if folder.exists() else "no such folder"
        return [], [_problem(str(folder), why, "a folder of manifests", "make it, or correct the path")]
    found: list[Found] = []
    problems: list[Problem] = []
    for path in files:
        if path == FOLDER / folder.name / VALUES:
            continue
        _file(path, folder, found, problems)
    if not found and not problems:
        problems.append(_problem(str(folder), "no manifests", f"files {', '.join(f'*{s}' for s in SUFFIXES)}", "put one there"))
    problems += _together(found)
    return found, problems


def _hidden(path: Path, folder: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(folder).parts)


def _problem(where: str, what: str, allowed: str, todo: str = "correct it") -> Problem:
    return Problem(where=where, what=what, allowed=allowed, todo=todo)


def _file(path: Path, folder: Path, found: list[Found], problems: list[Problem]) -> None:
    where = f"{folder.name}/{path.relative_to(folder)}"
    try:
        text = path.read_bytes().decode("utf-8-sig")
        documents = list(_yaml().load_all(text))
    except UnicodeDecodeError:
        problems.append(_problem(where, "not UTF-8", "YAML or JSON in UTF-8", "save the file as UTF-8"))
        return
    except OSError as error:
        problems.append(_problem(where, f"can't be read ({(error.strerror or 'unreadable').lower()})", "a readable file"))
        return
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        what = f"not YAML ({shown(' '.join(filter(None, (error.context, error.problem))), limit=120)})"
        problems.append(_problem(f"{where}:{line}", what, "YAML or JSON", "correct the syntax at or just above this line"))
        return
    except (YAMLError, ValueError, RecursionError, LookupError, AttributeError, TypeError) as error:
        problems.append(_problem(where, f"not YAML ({shown(str(error), limit=120)})", "YAML or JSON"))
        return
    bodies = [body for document in documents if document is not None for body in _listed(document)]
    for number, body in enumerate(bodies, 1):
        at = where if len(bodies) == 1 else f"{where} object {number}"
        faults = list(_faults(at, body))
        problems += faults
        if not faults:
            found.append(Found(where=at, body=body))


def _yaml() -> YAML:
    yaml = YAML(typ="safe", pure=True)
    yaml.version = (1, 1)
    yaml.Constructor = _Constructor
    return yaml


def _listed(document: Any) -> list[Any]:
    """The objects of a List, or the one object."""
    if isinstance(document, dict) and document.get("kind") == "List" and isinstance(document.get("items"), list):
        return list(document["items"])
    return [document]


def _faults(where: str, body: Any) -> Iterator[Problem]:
    if not isinstance(body, dict):
        yield _problem(where, f"not an object ({shown(body)})", "a mapping with apiVersion, kind and metadata")
        return
    for key in ("apiVersion", "kind"):
        if not isinstance(body.get(key), str) or not body[key]:
            yield _problem(where, f"no {key}", f"{key} in every object", f"add `{key}:`")
    metadata: Any = body.get("metadata")
    name = metadata.get("name") if isinstance(metadata, dict) else None
    if not isinstance(name, str) or not re.fullmatch(r"[^\s/%]{1,253}", name):
        generated = isinstance(metadata, dict) and "generateName" in metadata
        what = "generateName instead of a name" if generated else f"no usable metadata.name ({shown(name)})"
        yield _problem(where, what, "a fixed name, so that the object can be found again", "add `name:` under metadata")
        return
    try:
        json.dumps(body, allow_nan=False)
    except (TypeError, ValueError):
        yield _problem(where, "a value that JSON can't hold", "text, numbers, true, false, null, lists, mappings of text")
        return
    for part in ("labels", "annotations"):
        marks = metadata.get(part)
        if isinstance(marks, dict) and (ours := [key for key in marks if str(key).startswith("kubewright/")]):
            yield _problem(where, f"one of the {part} that kubewright sets itself ({ours[0]})", f"other {part}", "remove it")
        elif marks is not None and not isinstance(marks, dict):
            yield _problem(where, f"not {part} ({shown(marks)})", "a mapping", "write `key: value` lines, indented")
    namespace = metadata.get("namespace", "")
    if not isinstance(namespace, str) or not re.fullmatch(r"[-a-z0-9]*", namespace):
        yield _problem(where, f"not a namespace ({shown(namespace)})", "lower-case letters, digits, -")


def _together(found: Sequence[Found]) -> Iterator[Problem]:
    """Faults that only all objects together show: one object twice, and namespaces."""
    first: dict[tuple[str, str, str, str], str] = {}
    scopes = {}
    for each in found:
        spec = each.body.get("spec")
        if each.body["kind"] == CRD and isinstance(spec, dict) and isinstance(spec.get("names"), dict):
            scopes[str(spec.get("group")), str(spec["names"].get("kind"))] = spec.get("scope")
    for each in found:
        group, kind, namespace, name = each.ref
        text = f"{kind} {f'{namespace}/' if namespace else ''}{name}"
        if (other := first.setdefault(each.ref, each.where)) != each.where:
            yield _problem(each.where, f"{text} twice (also in {other})", "each object once", "remove one of them")
        ours = group == "" or "." not in group or group.endswith(".k8s.io")
        scope = scopes.get((group, kind))
        if scope == "Namespaced" or (ours and kind in NAMESPACED):
            if not namespace:
                yield _problem(each.where, f"{text} without a namespace", "metadata.namespace", "add `namespace:` under metadata")
        elif (scope == "Cluster" or (ours and kind in CLUSTER_WIDE)) and namespace:
            yield _problem(each.where, f"{text}: a cluster-scoped kind", "no metadata.namespace", "remove it")
