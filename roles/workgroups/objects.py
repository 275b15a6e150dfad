"""The Kubernetes objects of a workgroup. Pure."""

from __future__ import annotations

from typing import Any

from kubewright.model.workgroups import Workgroup
from kubewright.spec.workgroups import OBJECT

_RBAC = "rbac.authorization.k8s.io"
_LEVEL = "pod-security.kubernetes.io"


def objects(group: Workgroup) -> list[dict[str, Any]]:
    """The Namespace first: the others are in it."""
    levels = {f"{_LEVEL}/{mode}": group.pod_security for mode in ("enforce", "warn", "audit")}
    levels |= {f"{mode}-version": "latest" for mode in list(levels)}
    found = [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": group.name, "labels": levels}}]
    meta = {"name": OBJECT, "namespace": group.name}
    if group.quota:
        spec = {"hard": dict(sorted(group.quota.items()))}
        found.append({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": meta, "spec": spec})
    if group.limits:
        limit = {"type": "Container", **{name: dict(sorted(of.items())) for name, of in sorted(group.limits.items())}}
        found.append({"apiVersion": "v1", "kind": "LimitRange", "metadata": meta, "spec": {"limits": [limit]}})
    return [*found, *(_binding(group.name, role, people) for role, people in group.roles.items())]


def binding_name(role: str) -> str:
    return f"kubewright:workgroup:{role}"


def _binding(namespace: str, role: str, people: tuple[str, ...]) -> dict[str, Any]:
    """The roles are bound to the names: a credential of `kubewright user add` may be that person until it is revoked."""
    return {
        "apiVersion": f"{_RBAC}/v1",
        "kind": "RoleBinding",
        "metadata": {"name": binding_name(role), "namespace": namespace},
        "roleRef": {"apiGroup": _RBAC, "kind": "ClusterRole", "name": role},
        "subjects": [{"apiGroup": _RBAC, "kind": "User", "name": name} for name in people],
    }
