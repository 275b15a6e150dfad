"""The requested access of a person, checked before any host is contacted. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from kubewright.errors import BadInput, Problem
from kubewright.spec.shapes import LABEL, SUBDOMAIN

ROLES = ("view", "edit", "admin")
"""Kubernetes' own ClusterRoles for people [kubernetes.io: Using RBAC Authorization, "User-facing roles"]."""

HOME = "kubewright-users"
"""The namespace of the service accounts behind tokens: a user with rights in it may act as any of them."""

MAX_NAME = 40
"""X.509 allows 64 characters in a common name, and the certificate's says `kubewright:NAME:` and twelve more."""
_GROUP = r"[A-Za-z0-9](?:[A-Za-z0-9._:@/-]{0,126}[A-Za-z0-9])?"
_RESERVED = ("system:", "kubewright:")
MAX_DAYS = 3650


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """A new person: `grants` are (namespace, role) pairs."""

    name: str
    groups: tuple[str, ...]
    grants: tuple[tuple[str, str], ...]
    days: int


def wanted(
    name: str,
    *,
    groups: Sequence[str],
    namespaces: Sequence[str],
    role: str,
    days: int,
    more: Sequence[Problem] = (),
    in_workgroup: bool = False,
) -> Wanted:
    """The request, as `user add` takes it: `namespaces` are `NS` (with `role`) or `NS:ROLE`. `in_workgroup`: whether
    cluster.yaml gives the person a role.

    BadInput with every problem, including the caller's own in `more`.
    """
    grants = tuple((part[0], part[2] or role) for part in (given.partition(":") for given in namespaces))
    found = [*_names(name, groups), *_grants(grants, role), *more]
    if not groups and not grants and not in_workgroup:
        todo = "give --namespace, --group with a group that something is bound to, or name the person in a workgroup"
        found.append(Problem(where="user add", what="may do nothing", allowed="a namespace, a group or a workgroup", todo=todo))
    if not 1 <= days <= MAX_DAYS:
        allowed = f"1 to {MAX_DAYS} days"
        found.append(Problem(where="--days", what=f"out of range ({days})", allowed=allowed, todo="choose a shorter life"))
    if found:
        raise BadInput(found)
    return Wanted(name=name, groups=tuple(dict.fromkeys(groups)), grants=grants, days=days)


def name_problems(name: str) -> Iterator[Problem]:
    """The problems of a person's name."""
    if not re.fullmatch(SUBDOMAIN, name, re.ASCII) or len(name) > MAX_NAME:
        allowed = f"lower-case letters, digits, '-' and '.', at most {MAX_NAME}, like alice or bob.smith"
        yield Problem(where="NAME", what=f"not a user's name ({name})", allowed=allowed, todo="choose such a name")


def _names(name: str, groups: Sequence[str]) -> Iterator[Problem]:
    yield from name_problems(name)
    for group in groups:
        if group.startswith(_RESERVED):
            # RBAC cannot remove rights from system:masters; the others are Kubernetes' own components.
            allowed = f"groups that don't begin with {' or '.join(_RESERVED)}"
            todo = "bind a group of your own to a role, and name that"
            yield Problem(where="--group", what=f"not for people ({group})", allowed=allowed, todo=todo)
        elif not re.fullmatch(_GROUP, group, re.ASCII):
            allowed = "letters, digits, '-', '_', '.', ':', '@', '/', at most 128, a letter or digit at both ends"
            yield Problem(where="--group", what=f"not a group's name ({group})", allowed=allowed, todo="correct it")


def _grants(grants: Sequence[tuple[str, str]], role: str) -> Iterator[Problem]:
    allowed_roles = ", ".join(ROLES)
    if role not in ROLES:
        yield Problem(where="--role", what=f"no such role ({role})", allowed=allowed_roles, todo="choose one")
    seen = set()
    for namespace, its_role in grants:
        where = "--namespace"
        if not re.fullmatch(LABEL, namespace, re.ASCII):
            allowed = "NS or NS:ROLE; lower-case letters, digits and '-' inside, at most 63"
            yield Problem(where=where, what=f"not a namespace ({namespace})", allowed=allowed, todo="correct it")
        if its_role not in ROLES and its_role != role:
            yield Problem(where=where, what=f"no such role ({namespace}:{its_role})", allowed=allowed_roles, todo="choose one")
        if namespace in seen:
            todo = "name it once, with the role that includes the other"
            yield Problem(where=where, what=f"named twice ({namespace})", allowed="each namespace once", todo=todo)
        seen.add(namespace)
        if namespace == HOME or (namespace == "kube-system" and its_role != "view"):
            # A user who may make tokens there may act as any of its service accounts.
            todo = "to make an administrator, say so: --group kubeadm:cluster-admins"
            allowed = "namespaces of people's own" if namespace == HOME else "view"
            what = f"would be every right in the cluster ({namespace}:{its_role})"
            yield Problem(where=where, what=what, allowed=allowed, todo=todo)
