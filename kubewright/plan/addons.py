"""Add-ons as one cluster task: their objects with values, in the order of their application, and the objects to remove. Pure.

The index of an add-on is a ConfigMap in kube-system. Its annotations hold the add-on's objects and, once they are ready, their
checksum. So the list of ConfigMaps shows all evidence, whatever kinds the objects have.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from ruamel.yaml import YAML

from kubewright.observe import facts
from kubewright.observe.objects import ADDON, APPLIED, CONTENTS, INDEX, KINDS, MANAGER, TASK, Item, Ref
from kubewright.plan.context import Context, render
from kubewright.plan.desired import ClusterTask
from kubewright.releases.addons import BUILT_IN
from kubewright.spec.addons import FOLDER, Manifests
from kubewright.spec.manifests import CLUSTER_WIDE, NAMESPACED, VALUES

WAIT_SECONDS = 120
"""How long a run waits for an add-on's pods. It waits for all add-ons at the same time."""
KEPT = frozenset({"Namespace", "CustomResourceDefinition", "PersistentVolume", "PersistentVolumeClaim"})
"""Kinds whose deletion takes other objects or data with it: never removed."""
ROLLED = ("Deployment", "DaemonSet", "StatefulSet")
_FIRST = ("Namespace", "CustomResourceDefinition")
_ORDER = [
    "PriorityClass",
    "StorageClass",
    "IngressClass",
    "ResourceQuota",
    "LimitRange",
    "ServiceAccount",
    "Secret",
    "ConfigMap",
    "PersistentVolume",
    "PersistentVolumeClaim",
    "ClusterRole",
    "ClusterRoleBinding",
    "Role",
    "RoleBinding",
    "Service",
]
_LAST = ("APIService", "MutatingWebhookConfiguration", "ValidatingWebhookConfiguration")
_PLACE = re.compile(r"\$\{([^{}]*)\}")


@dataclass(frozen=True, kw_only=True)
class Rendered:
    """One add-on, ready to be applied."""

    name: str
    objects: tuple[dict[str, Any], ...]
    """In the order of their application."""

    @property
    def items(self) -> tuple[Item, ...]:
        return tuple(map(item_of, self.objects))

    @property
    def sha256(self) -> str:
        return hashlib.sha256(json.dumps(self.objects, sort_keys=True).encode()).hexdigest()


def item_of(body: Mapping[str, Any]) -> Item:
    metadata = body["metadata"]
    namespace = metadata.get("namespace") or ""
    return Item(version=body["apiVersion"], kind=body["kind"], namespace=namespace, name=metadata["name"])


@cache
def _defaults(name: str) -> Mapping[str, Any]:
    """The values in the folder of a built-in add-on."""
    path = FOLDER / name / VALUES
    return dict(YAML(typ="safe", pure=True).load(path.read_bytes()) or {}) if path.exists() else {}


def rendered(manifests: Manifests, context: Context, values: Mapping[str, Any]) -> Rendered:
    """`values`: what the plan says, beside the add-on's own values and its images. A user's manifests stay as they are."""
    objects = list(manifests.objects)
    if not manifests.own:
        images = {name: context.reference(name) for name in BUILT_IN[manifests.name].images}
        known = {**_defaults(manifests.name), **images, **values}
        objects = [substituted(each, known) for each in objects]
    for body in objects:
        labels = body["metadata"].get("labels") or {}
        body["metadata"] = {**body["metadata"], "labels": {**labels, ADDON: manifests.name}}
    return Rendered(name=manifests.name, objects=tuple(sorted(objects, key=_position)))


def substituted(value: Any, known: Mapping[str, Any]) -> Any:
    """`value` with `${NAME}` replaced in its texts, so that a value can't change the structure. Text that is only `${NAME}`
    becomes the value itself, of whatever type. KeyError for an unknown name."""
    if isinstance(value, dict):
        return {key: substituted(each, known) for key, each in value.items()}
    if isinstance(value, list):
        return [substituted(each, known) for each in value]
    if not isinstance(value, str):
        return value
    if whole := _PLACE.fullmatch(value):
        return known[whole[1]]
    return _PLACE.sub(lambda found: str(known[found[1]]), value)


def phase(body: Mapping[str, Any]) -> int:
    """1: all else may need it. 2: Kubernetes' own kinds. 3: custom resources, which may need the add-on's own webhooks."""
    if body["kind"] in _FIRST:
        return 1
    group = item_of(body).group
    own = ("." not in group or group.endswith(".k8s.io")) and body["kind"] in CLUSTER_WIDE | NAMESPACED
    return 2 if own else 3


def _position(body: Mapping[str, Any]) -> tuple[int, int]:
    kind = body["kind"]
    order = (*_FIRST, *_ORDER)
    return phase(body), order.index(kind) if kind in order else len(order) + (kind in _LAST)


def task(wanted: Iterable[Rendered], context: Context) -> ClusterTask | None:
    """The task for all add-ons; None when there are none, and no index of one. Its content holds the due ones only.

    Each has its own success: a broken one does not keep the others from being applied.
    """
    wanted = tuple(wanted)
    recorded = {listed.addon: listed.contents for listed in context.observed.objects if listed.addon and listed.contents}
    if not wanted and not recorded:
        return None
    due = [each for each in wanted if context.observed.facts.get(facts.of_addon(each.name)) != each.sha256]
    taken = {_key(item) for each in wanted for item in each.items}
    # Without the indexes, nobody knows the objects that left an add-on: the script refuses, and a later run is asked for.
    lines = [] if facts.API in context.observed.facts else ["unknown"]
    removes: list[Ref] = []
    leaves: list[Ref] = []
    for each in due:
        gone = [item for item in recorded.get(each.name, ()) if _key(item) not in taken]
        known = {_key(item) for item in recorded.get(each.name, ())}
        lines += _new(each.name, [item for item in each.items if item.kind not in KEPT and _key(item) not in known])
        lines += _applied(each, gone, waits_everywhere=not context.plan.absent)
        removes += [item.ref for item in gone if item.kind not in KEPT]
        leaves += [item.ref for item in gone if item.kind in KEPT]
    for name in sorted(recorded.keys() - {each.name for each in wanted}):
        gone = [item for item in recorded[name] if _key(item) not in taken]
        index = _index_item(name)
        lines += [f"addon {name}", *_removed(name, gone), f"forget {name} {index}"]
        removes += [*(item.ref for item in gone if item.kind not in KEPT), index.ref]
        leaves += [item.ref for item in gone if item.kind in KEPT]
    indexes = [_index_item(name).ref for name in (*(each.name for each in wanted), *sorted(recorded))]
    # An object that moves here from another task was that task's when the run looked, and would be removed as unwanted.
    listed = [item.ref for each in wanted for item in each.items if item.ref.kind in KINDS]
    named = f" {', '.join(each.name for each in due)}" if due else ""
    return ClusterTask(
        title=f"apply the add-ons{named}",
        content="".join(f"{line}\n" for line in lines).encode(),
        apply=render("addons/apply.sh.j2", seconds=WAIT_SECONDS, manager=MANAGER, label=ADDON, task=TASK).decode(),
        evidence={facts.API: "answers", **{facts.of_addon(each.name): each.sha256 for each in wanted}},
        # The indexes of unwanted add-ons too: the task itself removes them, after their objects.
        objects=tuple(dict.fromkeys((*indexes, *listed))),
        removes=tuple(removes),
        leaves=tuple(leaves),
    )


def _key(item: Item) -> tuple[str, str, str, str]:
    """Without the version, in which the API serves the same object too. No kind has objects both with and without a
    namespace; one that lacks it is in `default`."""
    return item.group, item.kind, item.namespace or "default", item.name


def _new(name: str, items: Iterable[Item]) -> Iterator[str]:
    """The objects that may be somebody else's. What is never removed may be shared."""
    for item in items:
        metadata = {"name": item.name, **({"namespace": item.namespace} if item.namespace else {})}
        stub = {"apiVersion": item.version, "kind": item.kind, "metadata": metadata}
        yield f"new {name} {item.group or '-'} {item.kind} {json.dumps(stub)}"


def _applied(each: Rendered, gone: list[Item], *, waits_everywhere: bool) -> Iterator[str]:
    name = each.name
    yield f"addon {name}"
    # Until it is done, the index has the old objects too: a run that is killed forgets none.
    yield f"begin {name} {_index(name, (*each.items, *gone), 'begun')}"
    for number in (1, 2, 3):
        if part := [body for body in each.objects if phase(body) == number]:
            yield f"apply {name} {number} {json.dumps({'apiVersion': 'v1', 'kind': 'List', 'items': part})}"
    for item, body in zip(each.items, each.objects, strict=True):
        if item.kind == "CustomResourceDefinition":
            yield f"crd {name} {item.name}"
        # With a host left out, a DaemonSet is not complete.
        if item.kind in ROLLED and (waits_everywhere or item.kind != "DaemonSet") and not _on_delete(body):
            yield f"wait {name} {item.kind} {item.namespace or 'default'} {item.name}"
        if item.kind == "APIService":
            yield f"wait {name} {item.kind} - {item.name}"
    yield from _removed(name, gone)
    yield f"index {name} {_index(name, each.items, each.sha256)}"


def _on_delete(body: Mapping[str, Any]) -> bool:
    """Whether pods are replaced only when people delete them, which nothing may wait for: `kubectl rollout status` refuses
    it [kubectl: pkg/polymorphichelpers/rollout_status.go]. The manifest is a user's, so any part may be of any type."""
    found: Any = body
    for key in ("spec", "updateStrategy", "type"):
        found = found.get(key) if isinstance(found, Mapping) else None
    return bool(found == "OnDelete")


def _removed(name: str, gone: Iterable[Item]) -> Iterator[str]:
    return (f"remove {name} {item}" for item in reversed(tuple(gone)) if item.kind not in KEPT)


def _index_item(name: str) -> Item:
    return Item(version="v1", kind="ConfigMap", namespace="kube-system", name=f"{INDEX}{name}")


def _index(name: str, items: Iterable[Item], sha256: str) -> str:
    metadata = {
        "name": f"{INDEX}{name}",
        "namespace": "kube-system",
        "labels": {TASK: f"{INDEX}{name}", ADDON: name},
        "annotations": {APPLIED: sha256, CONTENTS: "".join(f"{item}\n" for item in dict.fromkeys(items))},
    }
    return json.dumps({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata})
