"""Kubernetes objects that kubewright applies: their kinds, their marks, and how the API lists them. Pure.

The label TASK finds an object. It is kubewright's own only if kubewright also applied it: a copy has the same labels and
annotations.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

TASK, APPLIED = "kubewright/task", "kubewright/applied"
"""A label on each object that a task applies: the task's name. An annotation: the checksum of the manifest."""
MANAGER = "kubewright"
"""The field manager that applies."""
ADDON, CONTENTS = "kubewright/addon", "kubewright/objects"
"""A label on each object of an add-on: the add-on's name. An annotation on its index, a ConfigMap: one `Item` a line."""
INDEX = "addon-"
"""Before the add-on's name: the name of its index, which is the name of the index's task too."""


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of objects, as the API addresses it."""

    group: str
    plural: str
    namespaced: bool = True
    kept: str = ""
    """Why an object of this kind is never removed; empty: it is, once no task wants it."""

    @property
    def path(self) -> str:
        """The list of all namespaces."""
        return f"{self.group}/{self.plural}"


_RBAC = "/apis/rbac.authorization.k8s.io/v1"
KINDS = {
    "Namespace": Kind(group="/api/v1", plural="namespaces", namespaced=False, kept="all objects in it would go with it"),
    "ServiceAccount": Kind(group="/api/v1", plural="serviceaccounts"),
    "ClusterRole": Kind(group=_RBAC, plural="clusterroles", namespaced=False),
    "ClusterRoleBinding": Kind(group=_RBAC, plural="clusterrolebindings", namespaced=False),
    "Role": Kind(group=_RBAC, plural="roles"),
    "RoleBinding": Kind(group=_RBAC, plural="rolebindings"),
    "ResourceQuota": Kind(group="/api/v1", plural="resourcequotas"),
    "LimitRange": Kind(group="/api/v1", plural="limitranges"),
    "ConfigMap": Kind(group="/api/v1", plural="configmaps"),
    "ServiceCIDR": Kind(
        group="/apis/networking.k8s.io/v1",
        plural="servicecidrs",
        namespaced=False,
        # [kubernetes: pkg/controller/servicecidrs: its finalizer]. A narrower network.services is refused anyway.
        kept="Services have addresses from it, and while it is deleted it gives out no others",
    ),
    "Service": Kind(group="/api/v1", plural="services"),
    "PodDisruptionBudget": Kind(group="/apis/policy/v1", plural="poddisruptionbudgets"),
    "Deployment": Kind(group="/apis/apps/v1", plural="deployments"),
}
"""The kinds of all objects that tasks apply, in the order in which they need each other: removal goes backwards.

A kind whose deletion takes other people's data with it (Namespace, CustomResourceDefinition, PersistentVolumeClaim) has
`kept`."""
AS_MASTER = (
    "--cacert /etc/kubernetes/pki/ca.crt --cert /etc/kubernetes/pki/front-proxy-client.crt "
    "--key /etc/kubernetes/pki/front-proxy-client.key -H 'X-Remote-User: kubewright' -H 'X-Remote-Group: system:masters'"
)
"""How curl asks as system:masters, which needs no binding in the cluster. Masters alone hold that key."""

# One connection, metadata only. Without that User-Agent the API indents its answer for people.
SCRIPT = f"""
s objects; a=$(sed -n 's/^ *server: //p' /etc/kubernetes/admin.conf 2>/dev/null) q='?labelSelector={TASK}'
[ -z "$a" ] || curl -q -fsS --noproxy '*' --fail-early -m 5 -A kubewright {AS_MASTER} \\
  -H 'Accept: application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1' -w '\\n%{{http_code}} %{{url_effective}}\\n' \\
  {" ".join(f'"$a{kind.path}$q"' for kind in KINDS.values())} 2>/dev/null
"""
"""A part of the observing command: `s` begins a section."""


@dataclass(frozen=True, kw_only=True)
class Ref:
    """The identity of an object. `namespace` is empty for kinds without one."""

    kind: str
    namespace: str = ""
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}" if self.namespace else f"{self.kind} {self.name}"

    @property
    def path(self) -> str:
        """Its path in the API."""
        kind = KINDS[self.kind]
        within = f"namespaces/{self.namespace}/" if kind.namespaced else ""
        return f"{kind.group}/{within}{kind.plural}/{quote(self.name, safe='')}"


@dataclass(frozen=True, kw_only=True)
class Item:
    """The identity of an add-on's object, of any kind."""

    version: str
    """Its apiVersion."""
    kind: str
    namespace: str = ""
    name: str

    def __str__(self) -> str:
        """Four words; `-` stands for no namespace."""
        return f"{self.version} {self.kind} {self.namespace or '-'} {self.name}"

    @property
    def group(self) -> str:
        return self.version.rpartition("/")[0]

    @property
    def ref(self) -> Ref:
        """For people, and for facts: the kinds of custom resources carry their group."""
        own = "." not in self.group or self.group.endswith(".k8s.io")
        return Ref(kind=self.kind if own else f"{self.kind}.{self.group}", namespace=self.namespace, name=self.name)


def item(line: str) -> Item:
    """An item as `str` writes it."""
    version, kind, namespace, name = line.split(" ")
    return Item(version=version, kind=kind, namespace="" if namespace == "-" else namespace, name=name)


@dataclass(frozen=True, kw_only=True)
class Listed:
    """An object with the label TASK."""

    ref: Ref
    uid: str
    task: str
    applied: str
    """Its annotation APPLIED; empty: it has none."""
    owned: bool
    """Whether kubewright applied it, and nobody is deleting it."""
    contents: tuple[Item, ...] = ()
    """Of the index of an add-on: the add-on's objects."""

    @property
    def addon(self) -> str:
        """The add-on whose index it is; empty: it is none. Other namespaces than kube-system belong to people who may make
        ConfigMaps with any label and field manager."""
        place = Ref(kind="ConfigMap", namespace="kube-system", name=self.task)
        return self.task.removeprefix(INDEX) if self.owned and self.ref == place and self.task.startswith(INDEX) else ""


def read(lines: Sequence[str]) -> tuple[Listed, ...] | None:
    """That section of the answer. None unless the lists of all kinds came."""
    kinds = {kind.path: name for name, kind in KINDS.items()}
    lists: dict[str, list[dict[str, Any]]] = {}
    body = ""
    for line in lines:
        if ended := re.fullmatch(r"200 https://[^/]+(/[^?]+)\?.*", line):
            lists[kinds[ended[1]]] = json.loads(body)["items"] or []
        body = line or body
    if set(lists) != set(KINDS):
        return None
    return tuple(_listed(kind, item["metadata"]) for kind, items in lists.items() for item in items)


def _listed(kind: str, metadata: dict[str, Any]) -> Listed:
    task = str((metadata.get("labels") or {}).get(TASK, ""))
    applied = str((metadata.get("annotations") or {}).get(APPLIED, ""))
    # `kubectl get -o yaml` leaves managedFields out, so a copy that is made with it has none of kubewright's.
    managers = ((m.get("manager"), m.get("operation")) for m in metadata.get("managedFields") or ())
    return Listed(
        ref=Ref(kind=kind, namespace=metadata.get("namespace", ""), name=metadata["name"]),
        uid=metadata.get("uid", ""),
        task=task,
        applied=applied,
        contents=_contents(str((metadata.get("annotations") or {}).get(CONTENTS, ""))),
        owned=bool(task and applied) and "deletionTimestamp" not in metadata and (MANAGER, "Apply") in managers,
    )


def _contents(text: str) -> tuple[Item, ...]:
    """Lines that somebody has edited into something else count as none."""
    return tuple(item(line) for line in text.splitlines() if len(line.split()) == 4 == len(line.split(" ")))
