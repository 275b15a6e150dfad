"""An authority, or the service-account key pair, gives way to another: the rows of the store say how far it has come.

    ca/etcd                       it signs and is trusted                        SETTLED
    ca/etcd, ca/etcd/next         both are trusted, the old one signs            INTRODUCED
    ca/etcd/previous, ca/etcd     both are trusted, the new one signs            SWITCHED
    ca/etcd, ca/etcd/dropped      only one is trusted, hosts may not know yet    RETIRED

Each change of rows is one change of the index, and `apply` brings the hosts to what the rows say: a run killed anywhere is
gone on with from the rows alone.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping

from kubewright.errors import Failed
from pki import certificates, keys
from pki.decisions import Policy
from pki.stages import Stage
from pki.store import Entry, Store
from pki.table import SERVICE_ACCOUNT
from pki.trust import NEXT, PREVIOUS, first

DROPPED = "dropped"


def stage(entries: Mapping[str, Entry], name: str) -> Stage:
    """How far the rotation of `name` (`ca/etcd`, `service-account`) has come."""
    for suffix, found in ((NEXT, Stage.INTRODUCED), (PREVIOUS, Stage.SWITCHED), (DROPPED, Stage.RETIRED)):
        if f"{name}/{suffix}" in entries:
            return found
    return Stage.SETTLED


def advance(store: Store, name: str, seen: Stage, begin: Callable[[Store, str], None], now: dt.datetime) -> None:
    """From the stage that was `seen` to the next; `begin` makes the new one. Failed when another run has moved on meanwhile."""
    if (there := stage(store.entries, name)) is not seen:
        raise Failed(f"another run has brought {name} from {seen} to {there}; run the same command again")
    match seen:
        case Stage.SETTLED:
            begin(store, name)
        case Stage.INTRODUCED:
            switch(store, name, now)
        case Stage.SWITCHED:
            drop(store, name)
        case Stage.RETIRED:
            finish(store, name)


def begin(store: Store, name: str, common_name: str, policy: Policy, now: dt.datetime) -> None:
    """SETTLED -> INTRODUCED: make the one that is to come. Its name tells it from the old one, which some libraries go by."""
    key = keys.generate(policy.algorithm)
    if name == SERVICE_ACCOUNT:
        made = keys.public_pem(key)
    else:
        own = f"{common_name} {now:%Y-%m-%dT%H:%M:%SZ}"
        made = certificates.to_pem(certificates.self_signed(own, key, days=policy.ca_days, now=now))
    store.change(add={f"{name}/{NEXT}": (made, keys.to_pem(key))})


def switch(store: Store, name: str, now: dt.datetime) -> None:
    """INTRODUCED -> SWITCHED: from now on the new one signs. Servers also show that the old one vouches for it."""
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
    """SWITCHED -> RETIRED: the old one is trusted no more, and vouches for nobody."""
    pem = store.entries[name].certificate
    vouched = "" if name == SERVICE_ACCOUNT else pem.removeprefix(first(pem))
    shown = [n for n, e in store.entries.items() if vouched and e.certificate.endswith(vouched)]
    # Not one certificate may go on working for clients of the old one, to fail them on the day it is renewed.
    bare = {n: (store.entries[n].certificate.removesuffix(vouched).encode(), store.key(n)) for n in shown}
    store.change(move={f"{name}/{PREVIOUS}": f"{name}/{DROPPED}"}, add=bare)


def finish(store: Store, name: str) -> None:
    """RETIRED -> SETTLED: every host knows."""
    store.change(remove=[f"{name}/{DROPPED}"])


def undo(store: Store, name: str) -> None:
    """One stage back: SWITCHED -> INTRODUCED, INTRODUCED -> RETIRED of the one that was to come. Failed: there is no way back."""
    match stage(store.entries, name):
        case Stage.INTRODUCED:
            store.change(move={f"{name}/{NEXT}": f"{name}/{DROPPED}"})
        case Stage.SWITCHED:
            store.change(move={name: f"{name}/{NEXT}", f"{name}/{PREVIOUS}": name})
        case Stage.RETIRED:
            raise Failed(f"{name}: one of the two is no longer trusted everywhere; let the rotation end, then rotate again")
        case Stage.SETTLED:
            raise Failed(f"{name}: no rotation is under way")
