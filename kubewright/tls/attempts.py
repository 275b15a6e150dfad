"""The connections of `verify --tls`: every client with its own certificate, and at every port the clients that it must
refuse. Pure.

Wrong certificates are issued in memory by the store's authorities. Attempts whose keys are missing are listed as left out.
"""

from __future__ import annotations

import enum
import ssl
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from kubewright.model.certificates import ROWS
from kubewright.model.cluster import ETCD_CLIENT_PORT, Plan
from kubewright.model.etcd_rights import EVERYTHING, FLANNEL_PREFIX, NOTHING, READERS, RIGHTS, SKYDNS_PREFIX
from kubewright.plan.edges import Endpoint, edges, endpoints
from kubewright.plan.role import Role
from kubewright.tls.etcd_calls import DELETE, RANGE, USERS, deleting, reading, reading_all
from kubewright.tls.identities import Identities
from kubewright.tls.stream import Terms
from pki.certificates import Subject
from pki.identities import Identity, renamed

VERSIONS = (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)
"""In 1.3 a server checks the client's certificate after the client has finished its handshake; in 1.2 before."""
WEAK = (
    "ECDHE-ECDSA-AES128-SHA:ECDHE-ECDSA-AES128-SHA256:ECDHE-RSA-AES128-SHA:ECDHE-RSA-AES128-SHA256:"
    "AES128-GCM-SHA256:AES128-SHA:AES256-SHA:@SECLEVEL=0"
)
"""Ciphers that Go has, and that no component may use: CBC, and RSA's key transport."""
ELSEWHERE = "elsewhere.invalid"


class Kind(enum.StrEnum):
    """The kinds of attempts: the columns of the matrix."""

    ACCEPTED = "accepted"
    NOTHING = "no certificate"
    PLAIN = "plaintext"
    AUTHORITY = "wrong authority"
    EXPIRED = "expired"
    NAME = "wrong name"
    OLD = "TLS 1.1"
    CIPHER = "weak cipher"
    SERVER = "wrong server"
    """The client must refuse a server with another name, or of another authority."""
    RIGHTS = "etcd rights"
    """Keys in etcd that a certificate may access, and others."""


@dataclass(frozen=True, kw_only=True)
class Call:
    """A gRPC call, and whether etcd must allow it."""

    title: str
    method: str
    message: bytes
    allowed: bool


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One connection from `source`; without `terms` in plain HTTP."""

    kind: Kind
    source: str
    endpoint: Endpoint
    who: str
    path: str = ""
    terms: Terms | None = None
    call: Call | None = None

    @property
    def title(self) -> str:
        what = self.call.title if self.call else f"{self.path}, {self.kind}"
        return f"{self.endpoint.title} from {self.source} as {self.who}: {what}"


def _subject(plan: Plan, row: str) -> Subject:
    """The subject of `row`'s certificate on the first of its hosts."""
    return next(ROWS[row].leaf(plan, node).subject for node in plan.nodes if ROWS[row].on(node))


def accepted(plan: Plan, roles: Sequence[Role], identities: Identities) -> Iterator[Attempt]:
    """Each client to each server that it talks to, from its own host with its own certificate."""
    for edge in edges(plan, roles):
        name = ROWS[edge.row].stored(plan.node(edge.source)) if edge.row else ""
        identity = identities.stored(name) if name else None
        if name and identity is None:
            continue
        terms = Terms(trust=identities.trust(edge.endpoint.authority), identity=identity, server_name=edge.server_name)
        who = name or "anybody"
        yield Attempt(kind=Kind.ACCEPTED, source=edge.source, endpoint=edge.endpoint, who=who, path=edge.path, terms=terms)


def refused(plan: Plan, roles: Sequence[Role], identities: Identities) -> Iterator[Attempt]:
    """At each port, all clients that it must refuse; each time from another one of its client hosts."""
    for number, (endpoint, sources) in enumerate(endpoints(plan, roles).items()):
        yield from _of_clients(plan, endpoint, sources[number % len(sources)], identities)
        yield from _of_manners(plan, endpoint, sources[number % len(sources)], identities)


def _of_clients(plan: Plan, endpoint: Endpoint, source: str, identities: Identities) -> Iterator[Attempt]:
    tls, trust = endpoint.tls, identities.trust(endpoint.authority)
    claimed = _subject(plan, tls.clients[0].row)
    wrong: list[tuple[Kind, Identity | None]] = []
    for authority in identities.others(tls.authority):
        wrong.append((Kind.AUTHORITY, identities.made(authority, claimed)))
    wrong.append((Kind.EXPIRED, identities.made(tls.authority, claimed, expired=True)))
    if tls.handshake != "authority":
        wrong.append((Kind.NAME, identities.made(tls.authority, renamed(claimed, "nobody"))))
    for version in VERSIONS if tls.handshake else VERSIONS[-1:]:
        for path in tls.guarded:
            terms = Terms(trust=trust, highest=version)
            yield Attempt(kind=Kind.NOTHING, source=source, endpoint=endpoint, who="nobody", path=path, terms=terms)
        for kind, identity in wrong:
            if identity:
                terms = Terms(trust=trust, highest=version, identity=identity)
                path = tls.guarded[0]
                yield Attempt(kind=kind, source=source, endpoint=endpoint, who=identity.title, path=path, terms=terms)


def _of_manners(plan: Plan, endpoint: Endpoint, source: str, identities: Identities) -> Iterator[Attempt]:
    """Attempts that need no wrong identity: without TLS, with old TLS, with weak ciphers; and those that the client must
    refuse."""
    tls, trust = endpoint.tls, identities.trust(endpoint.authority)
    identity = identities.made(tls.authority, _subject(plan, tls.clients[0].row))
    old = Terms(trust=trust, identity=identity, lowest=ssl.TLSVersion.TLSv1, highest=ssl.TLSVersion.TLSv1_1)
    weak = Terms(trust=trust, identity=identity, highest=ssl.TLSVersion.TLSv1_2, ciphers=WEAK)
    elsewhere = Terms(trust=trust, identity=identity, server_name=ELSEWHERE)
    tried: list[tuple[Kind, Terms | None]] = [(Kind.PLAIN, None), (Kind.OLD, old), (Kind.CIPHER, weak), (Kind.SERVER, elsewhere)]
    for authority in identities.others(endpoint.authority):
        tried.append((Kind.SERVER, Terms(trust=identities.trust(authority), identity=identity)))
    who, path = identity.title if identity else "nobody", tls.guarded[0]
    for kind, terms in tried:
        yield Attempt(kind=kind, source=source, endpoint=endpoint, who=who, path=path, terms=terms)


_ELSEWHERE_IN_ETCD = (
    ("read the API's namespaces", RANGE, reading("/registry/namespaces/default")),
    ("count the API's objects", RANGE, reading_all("/registry/")),
    ("count the neighbours of flannel's keys", RANGE, reading_all(f"{FLANNEL_PREFIX}s")),
    ("count every key", RANGE, reading_all("")),
    # A key that does not exist: if the call is allowed, nothing is lost.
    ("delete a key of the API's", DELETE, deleting("/registry/kubewright-verify-nothing")),
    ("list etcd's users", USERS, b""),
)


def _calls(right: str | None, *, writes: bool, skydns: bool) -> Iterator[Call]:
    """`skydns`: whether the cluster keeps names there."""
    allowed = right == EVERYTHING
    for title, method, message in _ELSEWHERE_IN_ETCD:
        yield Call(title=title, method=method, message=message, allowed=allowed)
    prefixes = {f"{FLANNEL_PREFIX}/": "config", **({f"{SKYDNS_PREFIX}/": "kubewright-verify-nothing"} if skydns else {})}
    for prefix, key in prefixes.items():
        mine = allowed or right == prefix
        yield Call(title=f"read {prefix}{key}", method=RANGE, message=reading(f"{prefix}{key}"), allowed=mine)
        nothing = deleting(f"{prefix}kubewright-verify-nothing")
        yield Call(title=f"delete under {prefix}", method=DELETE, message=nothing, allowed=mine and writes)


def rights(plan: Plan, roles: Sequence[Role], identities: Identities) -> Iterator[Attempt]:
    """Each certificate of etcd's authority, on each of its hosts, with keys that it may access in etcd and others."""
    ports = [e for e in endpoints(plan, roles) if e.port == ETCD_CLIENT_PORT and e.address != "127.0.0.1"]
    holders = [
        (node.name, identities.stored(ROWS[row].stored(node)), right, row not in READERS)
        for row, right in RIGHTS.items()
        for node in plan.nodes
        if ROWS[row].on(node) and node.name not in plan.absent
    ]
    unknown = identities.made(ports[0].tls.authority, Subject(common_name="nobody", usages=("client",)))
    for number, (source, identity, right, writes) in enumerate([*holders, (ports[0].host, unknown, NOTHING, False)]):
        if identity is None:
            continue
        endpoint = ports[number % len(ports)]
        terms = Terms(trust=identities.trust(endpoint.authority), identity=identity)
        for call in _calls(right, writes=writes, skydns=plan.has_skydns):
            yield Attempt(kind=Kind.RIGHTS, source=source, endpoint=endpoint, who=identity.title, terms=terms, call=call)
