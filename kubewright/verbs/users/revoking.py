"""`user revoke`: remove the objects that give access, and ask every apiserver whether it refuses."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from kubewright.errors import BadInput, Failed, Problem
from kubewright.model.certificates import ADMINS
from kubewright.verbs.users import credential, manifests, record, removal
from kubewright.verbs.users.cluster import Cluster
from kubewright.verbs.users.credential import Credential, Object
from kubewright.verbs.users.manifests import Access
from kubewright.verbs.users.record import Issued

REFUSED_WITHIN = 30
"""Seconds that an apiserver has to apply the removal; it watches etcd and takes well under one."""


@dataclass(frozen=True, kw_only=True)
class Revoked:
    """The number of removed objects; remaining ones that may matter, in words; the masters that refuse now, and those that
    don't answer."""

    removed: int
    loopholes: tuple[str, ...]
    refused_by: tuple[str, ...]
    silent: tuple[str, ...]


def revoke(inventory: Path, cluster: Cluster, name: str) -> Revoked:
    """End all rights of `name`, and check that every apiserver refuses them. Can be repeated.

    BadInput when the name is unknown; Failed when an apiserver still allows access.
    """
    everything, issued = cluster.everything(), record.read(inventory)
    people = manifests.people(everything)
    first = removal.removal(everything, name)
    names = {row.name for row in issued} | set(people)
    if name not in names and not first.objects:
        allowed = ", ".join(sorted(names)) or "nobody was added yet"
        raise BadInput([Problem(where="NAME", what=f"no such user ({name})", allowed=allowed, todo="see kubewright user list")])
    # Recorded first: after a kill at this point the list shows `revived` until a repeated run.
    record.mark_revoked(inventory, name, credential.stamp(dt.datetime.now(dt.UTC)))
    cluster.remove(first)
    theirs: list[Issued | Access] = [row for row in issued if row.name == name]
    theirs += [access for access in (people.get(name),) if access]
    grants = sorted({grant for row in theirs for grant in row.grants})
    held = {Credential(kind=row.kind, name=name, id=row.id) for row in theirs if row.kind}
    asked = [review for one in held for review in removal.reviews(one.username, name, grants)]
    refused_by, silent = _see_refused(cluster, asked)
    # Until the last one refused, an admin of a namespace could bind a role there again.
    last = removal.removal(cluster.everything(), name)
    cluster.remove(last)
    return Revoked(
        removed=first.objects + last.objects,
        loopholes=(*last.loopholes, *_left_open(grants, {group for row in theirs for group in row.groups})),
        refused_by=refused_by,
        silent=silent,
    )


def _left_open(grants: Sequence[tuple[str, str]], groups: set[str]) -> Iterator[str]:
    for namespace in sorted(namespace for namespace, role in grants if role != "view"):
        yield f"{namespace}: its service accounts' tokens could be made there; kubectl -n {namespace} get serviceaccounts"
    if ADMINS in groups:
        yield f"an administrator ({ADMINS}) could bind or read anything; if in doubt, a new authority ends every certificate"


def _see_refused(cluster: Cluster, asked: Sequence[Object]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The masters whose apiserver refuses every review, and those that don't answer. Failed when one still allows access."""
    refused_by: list[str] = []
    silent: list[str] = []
    for master in cluster.spec.masters if asked else ():
        still = _followed(cluster, master.address, asked)
        if still:
            raise Failed(
                f"{master.name}: its apiserver still allows {', '.join(still)} after {REFUSED_WITHIN} s; "
                "see `kubewright verify`, then revoke again"
            )
        (silent if still is None else refused_by).append(master.name)
    return tuple(refused_by), tuple(silent)


def _followed(cluster: Cluster, address: object, asked: Sequence[Object]) -> Sequence[str] | None:
    """The reviews that the apiserver at `address` still allows after the time limit; None when it does not answer."""
    deadline = time.monotonic() + REFUSED_WITHIN
    while still := cluster.allowed(address, asked):
        if time.monotonic() > deadline:
            break
        time.sleep(0.5)
    return still
