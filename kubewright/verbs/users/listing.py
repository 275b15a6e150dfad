"""`user list`: the issued credentials, compared with the cluster."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from kubewright.verbs.users import credential, manifests, record, signers
from kubewright.verbs.users.cluster import Cluster
from kubewright.verbs.users.manifests import Access
from kubewright.verbs.users.record import Issued
from pki.store import Entry, Store


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of `user list`. `state` is active, outdated, expired, revoked, unbound or revived."""

    name: str
    kind: str
    id: str
    groups: tuple[str, ...]
    grants: tuple[tuple[str, str], ...]
    expires: str
    revoked: str
    state: str


def rows(issued: Sequence[Issued], people: dict[str, Access], now: str, entries: Mapping[str, Entry]) -> Iterator[Row]:
    """The issued credentials, with their state in the cluster. A user who is only in the cluster was added on another
    machine. Pure.

    outdated: its signer is no longer trusted. unbound: never revoked, but without objects in the cluster. revived: revoked,
    and the cluster allows it again.
    """
    for one in issued:
        access = people.get(one.name)
        live = access is not None and access.live and access.id == one.id
        if live:
            state = "active" if signers.works(one, entries) else "outdated"
            state = "revived" if one.revoked else "expired" if one.expires <= now else state
        else:
            state = "revoked" if one.revoked else "unbound"
        yield Row(name=one.name, kind=one.kind, id=one.id, groups=one.groups, grants=one.grants,
                  expires=one.expires, revoked=one.revoked, state=state)  # fmt: skip
    known = {one.id for one in issued}
    for access in people.values():
        if access.id not in known:
            state = "unbound" if not access.live else "expired" if access.expires <= now else "active"
            yield Row(name=access.name, kind=access.kind or "", id=access.id, groups=access.groups, grants=access.grants,
                      expires=access.expires, revoked="", state=state)  # fmt: skip


def listed(inventory: Path, cluster: Cluster) -> list[Row]:
    """All users, including revoked ones."""
    now = credential.stamp(dt.datetime.now(dt.UTC))
    return list(rows(record.read(inventory), manifests.people(cluster.belongings()), now, Store(inventory).entries))
