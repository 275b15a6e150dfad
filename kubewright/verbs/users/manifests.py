"""A person's rights as Kubernetes objects, and the people in a cluster's objects. Pure.

A credential may do nothing but *be* the person: a ClusterRole lets it impersonate the name and the groups, which are in no
certificate. Without that role the credential has no rights. The roles in namespaces are bound to the name, and to the
credential itself
for clients that don't know impersonation.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from kubewright.verbs.users.credential import Credential, Kind, Object
from kubewright.verbs.users.wanted import HOME, Wanted

MANAGED = {"app.kubernetes.io/managed-by": "kubewright"}
USER, ID = "kubewright/user", "kubewright/credential"
KIND, EXPIRES = "kubewright/kind", "kubewright/expires"
KINDS = "rolebindings,clusterrolebindings,clusterroles,serviceaccounts"
"""The kinds of a person's objects, as kubectl's arguments."""
_RBAC = "rbac.authorization.k8s.io"


def object_name(name: str) -> str:
    return f"kubewright:user:{name}"


def namespace(name: str) -> Object:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


def objects(wanted: Wanted, credential: Credential, expires: str) -> list[Object]:
    """Everything of one person; `expires` as RFC 3339. The role that lets the credential impersonate the person comes last."""
    labels = {**MANAGED, USER: wanted.name, ID: credential.id}
    notes = {KIND: credential.kind, EXPIRES: expires}
    meta = {"name": object_name(wanted.name), "labels": labels, "annotations": notes}
    role = _object("ClusterRole", meta, rules=_rules(wanted))
    being = _object("ClusterRoleBinding", meta, roleRef=_ref(object_name(wanted.name)), subjects=[credential.subject])
    named = {"apiGroup": _RBAC, "kind": "User", "name": wanted.name}
    bindings = [
        _object("RoleBinding", {**meta, "namespace": ns}, roleRef=_ref(its_role), subjects=[named, credential.subject])
        for ns, its_role in wanted.grants
    ]
    return [*bindings, role, being]


def account(credential: Credential) -> Object:
    """The service account behind a token. It is made before everything else, since the token and its expiry depend on it."""
    labels = {**MANAGED, USER: credential.name, ID: credential.id}
    meta = {"name": credential.account, "namespace": HOME, "labels": labels}
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta}


def _object(kind: str, metadata: Object, **rest: object) -> Object:
    return {"apiVersion": f"{_RBAC}/v1", "kind": kind, "metadata": metadata, **rest}


def _ref(cluster_role: str) -> Object:
    return {"apiGroup": _RBAC, "kind": "ClusterRole", "name": cluster_role}


def _rules(wanted: Wanted) -> list[Object]:
    named = {"users": [wanted.name], "groups": list(wanted.groups)}
    return [
        {"apiGroups": [""], "resources": [kind], "resourceNames": names, "verbs": ["impersonate"]}
        for kind, names in named.items()
        if names
    ]


def items(objects: Sequence[Object]) -> Object:
    """Several objects as one document."""
    return {"apiVersion": "v1", "kind": "List", "items": list(objects)}


def owner(item: Object) -> str:
    """The person to whom the object belongs, empty when it is not ours."""
    labels = item["metadata"].get("labels") or {}
    return str(labels.get(USER, "")) if MANAGED.items() <= labels.items() else ""


@dataclass(frozen=True, kw_only=True)
class Access:
    """One person in the cluster. `live` when a credential may impersonate the person."""

    name: str
    kind: Kind | None
    id: str
    groups: tuple[str, ...]
    grants: tuple[tuple[str, str], ...]
    expires: str
    live: bool


def people(found: Iterable[Object]) -> dict[str, Access]:
    """All people with objects in the cluster, by name, from its objects of `KINDS`."""
    belongings: dict[str, list[Object]] = defaultdict(list)
    for item in found:
        if name := owner(item):
            belongings[name].append(item)
    return {name: _access(name, its) for name, its in sorted(belongings.items())}


def _access(name: str, its: Sequence[Object]) -> Access:
    by_kind: dict[str, list[Object]] = defaultdict(list)
    for item in its:
        by_kind[item["kind"]].append(item)
    being = next(iter(by_kind["ClusterRoleBinding"] or its))
    notes, labels = being["metadata"].get("annotations") or {}, being["metadata"]["labels"]
    rules = [rule for role in by_kind["ClusterRole"] for rule in role.get("rules") or ()]
    return Access(
        name=name,
        kind=notes.get(KIND),
        id=str(labels.get(ID, "")),
        groups=tuple(n for rule in rules if rule.get("resources") == ["groups"] for n in rule.get("resourceNames") or ()),
        grants=tuple(sorted((b["metadata"]["namespace"], b["roleRef"]["name"]) for b in by_kind["RoleBinding"])),
        expires=str(notes.get(EXPIRES, "")),
        live=bool(by_kind["ClusterRoleBinding"]),
    )
