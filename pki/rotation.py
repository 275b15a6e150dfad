"""An authority, or the service-account key pair, gives way to another: the rows of the store say how far it has come.

    ca/etcd                       it signs and is trusted                        SETTLED
    ca/etcd, ca/etcd/next         both are trusted, the old one signs            INTRODUCED
    ca/etcd/previous, ca/etcd     both are trusted, the new one signs            SWITCHED
    ca/etcd, ca/etcd/dropped      only one is trusted, hosts may not know yet    RETIRED
    ca/etcd, ca/etcd/former       as at first; what was dropped is remembered    SETTLED

Each change of rows is one write of the index, and `apply` rolls the rows out to the hosts. A killed run resumes from the rows.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping

from cryptography import x509

from kubewright.errors import Failed
from pki import certificates, keys
from pki.authorities import SERVICE_ACCOUNT
from pki.decisions import Given, Policy
from pki.stages import Stage
from pki.store import Entry, Store
from pki.trust import DROPPED, FORMER, NEXT, PREVIOUS, first


def stage(entries: Mapping[str, Entry], name: str) -> Stage:
    """The stage of the rotation of `name` (`ca/etcd`, `service-account`)."""
    for suffix, found in ((NEXT, Stage.INTRODUCED), (PREVIOUS, Stage.SWITCHED), (DROPPED, Stage.RETIRED)):
        if f"{name}/{suffix}" in entries:
            return found
    return Stage.SETTLED


def advance(store: Store, name: str, seen: Stage, begin: Callable[[Store], None], now: dt.datetime) -> None:
    """Go from the stage `seen` to the next; `begin` makes the new one. Failed when another run has changed the stage."""
    if (there := stage(store.entries, name)) is not seen:
        raise Failed(f"another run has moved {name} from {seen} to {there}; run the same command again")
    match seen:
        case Stage.SETTLED:
            begin(store)
        case Stage.INTRODUCED:
            switch(store, name, now)
        case Stage.SWITCHED:
            drop(store, name)
        case Stage.RETIRED:
            finish(store, name)


def begin(store: Store, name: str, common_name: str, policy: Policy, now: dt.datetime, given: Given | None = None) -> None:
    """SETTLED -> INTRODUCED: import the external CA `given`, or make a new one.

    The new one has another name, because some libraries tell authorities apart by name. Failed when `given` is the present one.
    """
    if given:
        if certificates.from_pem(given.certificate) == certificates.from_pem(store.certificate(name)):
            raise Failed(
                f"cluster.yaml names the authority that is {name} already; name the one that is to come, or leave the line out "
                "and kubewright makes it"
            )
        made, secret = given.certificate, given.key.read_bytes() if given.key else b""
    elif name == SERVICE_ACCOUNT:
        key = keys.generate(policy.algorithm)
        made, secret = keys.public_pem(key), keys.to_pem(key)
    else:
        key, own = keys.generate(policy.algorithm), f"{common_name} {now:%Y-%m-%dT%H:%M:%SZ}"
        made, secret = certificates.to_pem(certificates.self_signed(own, key, days=policy.ca_days, now=now)), keys.to_pem(key)
    store.change(add={f"{name}/{NEXT}": (made, secret)})


def switch(store: Store, name: str, now: dt.datetime) -> None:
    """INTRODUCED -> SWITCHED: the new one signs. Servers also send the new one's certificate that the old one signed."""
    pem = store.certificate(f"{name}/{NEXT}")
    if name != SERVICE_ACCOUNT:
        pem = _vouched(pem.decode(), store.certificate(name).decode(), _cross(store, name, now).decode()).encode()
    store.change(remove=[f"{name}/{NEXT}"], move={name: f"{name}/{PREVIOUS}"}, add={name: (pem, _key(store, f"{name}/{NEXT}"))})


def _vouched(pem: str, old: str, cross: str) -> str:
    """`pem` with the cross-signed certificate before its issuers, unless clients of the old one know those issuers too.

    OpenSSL follows the first chain that it is sent, and no second one.
    """
    own = first(pem)
    above = pem.removeprefix(own)
    return own + above + cross if above and above in old else own + cross + above


def _key(store: Store, row: str) -> bytes:
    """The private key; empty when it is kept elsewhere."""
    return store.key(row) if store.entries[row].key_sha256 else b""


def vouches(entries: Mapping[str, Entry], name: str, now: dt.datetime) -> bool:
    """Whether the signing authority can cross-sign another: its key is here, it is valid, and its path length allows it."""
    authority = certificates.from_pem(entries[name].certificate.encode())
    able = certificates.path_length(authority) != 0 and now < authority.not_valid_after_utc
    return able and bool(entries[name].key_sha256)


def _cross(store: Store, name: str, now: dt.datetime) -> bytes:
    """The new one's certificate, signed by the old one; empty if the old one cannot sign it."""
    if not vouches(store.entries, name, now):
        return b""
    successor = certificates.from_pem(store.certificate(f"{name}/{NEXT}"))
    authority = certificates.from_pem(store.certificate(name))
    return certificates.to_pem(certificates.cross_signed(successor, authority, keys.from_pem(store.key(name)), now=now))


def drop(store: Store, name: str) -> None:
    """SWITCHED -> RETIRED: the old one is not trusted any more, and no cross-signed certificate is left."""
    # Otherwise some certificates would work for clients of the old one until their renewal, and then fail.
    crosses = [] if name == SERVICE_ACCOUNT else _crosses(store.certificate(name))
    bare = {}
    for row, entry in store.entries.items():
        left = _without(entry.certificate, crosses)
        if left != entry.certificate:
            bare[row] = (left.encode(), _key(store, row))
    store.change(move={f"{name}/{PREVIOUS}": f"{name}/{DROPPED}"}, add=bare)


def _crosses(pem: bytes) -> list[str]:
    """Cross-signed certificates of the first certificate's key, PEM."""
    own, *others = x509.load_pem_x509_certificates(pem)
    return [certificates.to_pem(c).decode() for c in others if c.public_key() == own.public_key()]


def _without(pem: str, parts: list[str]) -> str:
    for part in parts:
        pem = pem.replace(part, "")
    return pem


def finish(store: Store, name: str) -> None:
    """RETIRED -> SETTLED: every host has the change. The dropped one is remembered: see `trust.FORMER`."""
    former, gone = store.entries.get(f"{name}/{FORMER}"), first(store.entries[f"{name}/{DROPPED}"].certificate)
    before = former.certificate.replace(gone, "") if former else ""
    store.change(remove=[f"{name}/{DROPPED}"], add={f"{name}/{FORMER}": ((before + gone).encode(), b"")})


def undo(store: Store, name: str) -> None:
    """Go one stage back: SWITCHED -> INTRODUCED, INTRODUCED -> RETIRED of the new one. Failed in other stages."""
    match stage(store.entries, name):
        case Stage.INTRODUCED:
            store.change(move={f"{name}/{NEXT}": f"{name}/{DROPPED}"})
        case Stage.SWITCHED:
            crosses = [] if name == SERVICE_ACCOUNT else _crosses(store.certificate(name))
            bare = _without(store.entries[name].certificate, crosses).encode()
            store.change(move={f"{name}/{PREVIOUS}": name}, add={f"{name}/{NEXT}": (bare, _key(store, name))})
        case Stage.RETIRED:
            raise Failed(
                f"{name}: one of the two is no longer trusted everywhere; let it end with the same command without --undo, "
                "then rotate again"
            )
        case Stage.SETTLED:
            raise Failed(f"{name}: no rotation is under way")
