"""The end of a person's access: objects to delete, bindings that lose a subject, and questions afterwards. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from kubewright.verbs.users.credential import PREFIX, Object
from kubewright.verbs.users.manifests import owner
from kubewright.verbs.users.wanted import HOME

_EVERYBODY = ("system:authenticated", "system:unauthenticated")
_BOOTSTRAPPED = "kubernetes.io/bootstrapping"


@dataclass(frozen=True, kw_only=True)
class Removal:
    """`delete` are references (kind, name, namespace); `replace` whole objects, as kubectl's `replace` takes them."""

    delete: tuple[Object, ...]
    replace: tuple[Object, ...]
    loopholes: tuple[str, ...]
    """Remaining objects that may matter, in words."""

    @property
    def objects(self) -> int:
        return len(self.delete) + len(self.replace)


def removal(found: Iterable[Object], name: str) -> Removal:
    """The changes that end all rights of `name`; `found` are all objects of `manifests.KINDS`.

    A user with `admin` in a namespace can bind roles there, also to the own credential. So the subject is removed from every
    binding, including those of other people.
    """
    delete: list[Object] = []
    replace: list[Object] = []
    loopholes: list[str] = []
    for item in found:
        if owner(item) == name:
            delete.append(_reference(item))
            continue
        subjects: Sequence[Object] = item.get("subjects") or ()
        kept = [subject for subject in subjects if not _is_credential_of(subject, name)]
        if len(kept) < len(subjects):
            delete += [] if kept else [_reference(item)]
            replace += [{**item, "subjects": kept}] if kept else []
        loopholes += _loopholes(item, kept, name)
    return Removal(delete=tuple(delete), replace=tuple(replace), loopholes=tuple(loopholes))


def _is_credential_of(subject: Object, name: str) -> bool:
    kind, called = subject["kind"], subject["name"]
    if kind == "ServiceAccount":
        return subject.get("namespace") == HOME and _issued_to(called, f"{name}-")
    account = f"system:serviceaccount:{HOME}:{name}-"
    return kind == "User" and (called.startswith(f"{PREFIX}{name}:") or _issued_to(called, account))


def _issued_to(called: str, prefix: str) -> bool:
    """Whether an id and nothing else follows: alice-smith-0123456789ab is not alice's."""
    rest = called.removeprefix(prefix)
    return rest != called and len(rest) == 12 and all(c in "0123456789abcdef" for c in rest)


def _loopholes(item: Object, subjects: Sequence[Object], name: str) -> list[str]:
    labels = item["metadata"].get("labels") or {}
    where = " ".join(filter(None, (item["kind"], item["metadata"].get("namespace"), item["metadata"]["name"])))
    named = [s for s in subjects if s["kind"] == "User" and s["name"] == name]
    everybody = [s["name"] for s in subjects if s["kind"] == "Group" and s["name"] in _EVERYBODY and _BOOTSTRAPPED not in labels]
    said = [f"{where} still names {name}: a later `user add {name}` would have it again"] if named else []
    return said + [f"{where} is for {group}: that is everybody, a revoked certificate too" for group in everybody]


def _reference(item: Object) -> Object:
    kept = {key: item["metadata"][key] for key in ("name", "namespace") if key in item["metadata"]}
    return {"apiVersion": item["apiVersion"], "kind": item["kind"], "metadata": kept}


def reviews(username: str, name: str, grants: Iterable[tuple[str, str]]) -> list[Object]:
    """Questions to an apiserver: may `username` still be `name`, or read in its namespaces? Each as a SubjectAccessReview."""
    asked = [{"verb": "impersonate", "resource": "users", "name": name}]
    asked += [{"verb": "get", "resource": "pods", "namespace": namespace} for namespace, _ in grants]
    return [
        {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SubjectAccessReview",
            "spec": {"user": username, "resourceAttributes": attributes},
        }
        for attributes in asked
    ]
