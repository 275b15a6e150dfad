"""An authority, or the service-account key pair, gives way to another: the rows of the store say how far it has come.

    ca/etcd                       it signs and is trusted                        SETTLED
    ca/etcd, ca/etcd/next         both are trusted, the old one signs            TRUSTING
    ca/etcd/previous, ca/etcd     both are trusted, the new one signs            SWITCHED
    ca/etcd, ca/etcd/dropped      only one is trusted, hosts may not know yet    DROPPING

Each change of rows is one change of the index, and `apply` brings the hosts to what the rows say: a run killed anywhere is
gone on with from the rows alone.
"""

from __future__ import annotations

import datetime as dt
import enum
from collections.abc import Mapping

from kubewright.errors import Failed
from pki import certificates, keys
from pki.decisions import Policy
from pki.store import Entry, Store
from pki.table import SERVICE_ACCOUNT
from pki.trust import NEXT, PREVIOUS, first

DROPPED = "dropped"


class Stage(enum.StrEnum):
    SETTLED = "settled"
    TRUSTING = "both trusted, the old one signs"
    SWITCHED = "both trusted, the new one signs"
    DROPPING = "only one trusted, not yet on every host"


def stage(entries: Mapping[str, Entry], name: str) -> Stage:
    """How far the rotation of `name` (`ca/etcd`, `service-account`) has come."""
    for suffix, found in ((NEXT, Stage.TRUSTING), (PREVIOUS, Stage.SWITCHED), (DROPPED, Stage.DROPPING)):
        if f"{name}/{suffix}" in entries:
            return found
    return Stage.SETTLED


def begin(store: Store, name: str, common_name: str, policy: Policy, now: dt.datetime) -> None:
    """SETTLED -> TRUSTING: make the one that is to come. Its name tells it from the old one, which some libraries go by."""
    key = keys.generate(policy.algorithm)
    if name == SERVICE_ACCOUNT:
        made = keys.public_pem(key)
    else:
        own = f"{common_name} {now:%Y-%m-%dT%H:%M:%SZ}"
        made = certificates.to_pem(certificates.self_signed(own, key, days=policy.ca_days, now=now))
    store.change(add={f"{name}/{NEXT}": (made, keys.to_pem(key))})


def switch(store: Store, name: str, now: dt.datetime) -> None:
    """TRUSTING -> SWITCHED: from now on the new one signs. Servers also show that the old one vouches for it."""
    pem, key = store.certificate(f"{name}/{NEXT}"), store.key(f"{name}/{NEXT}")
    if name != SERVICE_ACCOUNT:
        pem = first(pem.decode()).encode() + _cross(store, name, now)
    store.change(
        remove=[f"{name}/{NEXT}"],
        move={name: f"{name}/{PREVIOUS}"},
        add={name: (pem, key)},
    )


def _cross(store: Store, name: str, now: dt.datetime) -> bytes:
    """The old one's word for the new one; nothing when its key is kept elsewhere, or it may have none below it."""
    if not store.entries[name].key_sha256:
        return b""
    successor = certificates.from_pem(store.certificate(f"{name}/{NEXT}"))
    authority = certificates.from_pem(store.certificate(name))
    cross = certificates.cross_signed(successor, authority, keys.from_pem(store.key(name)), now=now)
    return certificates.to_pem(cross) if cross else b""


def drop(store: Store, name: str) -> None:
    """SWITCHED -> DROPPING: the old one is trusted no more, and vouches for nobody."""
    pem = store.entries[name].certificate
    vouched = "" if name == SERVICE_ACCOUNT else pem.removeprefix(first(pem))
    shown = [n for n, e in store.entries.items() if vouched and e.certificate.endswith(vouched)]
    # Not one certificate may go on working for clients of the old one, to fail them on the day it is renewed.
    bare = {n: (store.entries[n].certificate.removesuffix(vouched).encode(), store.key(n)) for n in shown}
    store.change(move={f"{name}/{PREVIOUS}": f"{name}/{DROPPED}"}, add=bare)


def finish(store: Store, name: str) -> None:
    """DROPPING -> SETTLED: every host knows."""
    store.change(remove=[f"{name}/{DROPPED}"])


def undo(store: Store, name: str) -> None:
    """One stage back: SWITCHED -> TRUSTING, TRUSTING -> DROPPING of the one that was to come. Failed: there is no way back."""
    match stage(store.entries, name):
        case Stage.TRUSTING:
            store.change(move={f"{name}/{NEXT}": f"{name}/{DROPPED}"})
        case Stage.SWITCHED:
            store.change(move={name: f"{name}/{NEXT}", f"{name}/{PREVIOUS}": name})
        case Stage.DROPPING:
            raise Failed(f"{name}: one of the two is no longer trusted everywhere; let the rotation end, then rotate again")
        case Stage.SETTLED:
            raise Failed(f"{name}: no rotation is under way")
