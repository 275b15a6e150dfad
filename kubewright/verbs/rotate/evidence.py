"""A rotation as the live cluster shows it: the certificates that servers show, the authorities that they trust, and the tokens
and authorities that pods have."""

from __future__ import annotations

import base64
import hashlib
import json
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import gevent
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from kubewright.errors import Failed
from kubewright.hosts.remote import Remote
from kubewright.model.certificates import ROWS
from kubewright.plan.edges import Edge, Endpoint, edges, endpoints
from kubewright.run.session import Session
from kubewright.tls.probe import ask, served
from kubewright.tls.stream import Terms
from pki import certificates, identities, trust
from pki.store import Store

PAUSE = 2.0
LISTENERS_SECONDS, PODS_SECONDS = 120.0, 420.0
"""How long evidence is waited for. kubelet looks at a pod's volumes about once a minute, and keeps what it got for another."""

_VOLUMES = "/var/lib/kubelet/pods/*/volumes/kubernetes.io~projected/*"
# Of a token only its header is read, which says the key that signed it: the token itself never leaves the host. Pods may call
# it what they like, and may call other things `token`: a JWT's header is what it is known by.
_TOKEN_HEADERS = f"""for f in {_VOLUMES}/*; do
  [ -f "$f" ] || continue
  h=$(head -c 4096 "$f" | tr -d '\\0' | sed -n '1s/^\\(eyJ[A-Za-z0-9_-]*\\)\\.eyJ[A-Za-z0-9_-]*\\..*/\\1/p')
  [ -z "$h" ] || printf '%s %s\\n' "$h" "$f"
done"""
_AUTHORITIES = f'for f in {_VOLUMES}/ca.crt; do [ -f "$f" ] && printf "%s %s\\n" "$(base64 -w0 "$f")" "$f"; done; true'


def until_none(what: str, missing: Callable[[], list[str]], seconds: float, say: Callable[[str], None]) -> None:
    """Ask until nothing is missing. Failed, naming what still is, after `seconds`; the same command resumes."""
    deadline, said = time.monotonic() + seconds, ""
    while found := missing():
        if time.monotonic() > deadline:
            raise Failed(f"{what}, not after {seconds:.0f} s: {_few(found)}; fix the cause, then run the same command again")
        if (text := f"waiting: {what}: {len(found)} to go") != said:
            said = text
            say(text)
        gevent.sleep(PAUSE)


def _few(found: list[str]) -> str:
    return "; ".join(found[:8]) + (f"; and {len(found) - 8} more" if len(found) > 8 else "")


def not_served(session: Session, store: Store, name: str) -> list[str]:
    """The listeners that do not show a certificate signed by the authority `name` as it is now."""
    authority = certificates.from_pem(store.certificate(name))
    wanted = [
        (e, sources[0]) for e, sources in endpoints(session.plan, session.roles).items() if ROWS[e.tls.row].authority.name == name
    ]

    def look(endpoint: Endpoint, source: str) -> str:
        shown = served(remote(session, source), endpoint.address, endpoint.port)
        if not shown.chain:
            return f"{endpoint.title} shows no certificate ({shown.broken})"
        try:
            x509.load_der_x509_certificate(shown.leaf).verify_directly_issued_by(authority)
        except Exception:
            return f"{endpoint.title} shows one of another authority"
        return ""

    return [text for text in _at_once(look, wanted) if text]


def not_trusting(session: Session, store: Store, name: str) -> list[str]:
    """The servers that refuse a client whose certificate the authority called `name`, which may be to come, has signed."""
    signer, whose = identities.signer(store, name), name.rsplit("/", 1)[0] if name.count("/") > 1 else name
    first: dict[Endpoint, Edge] = {}
    for edge in edges(session.plan, session.roles):
        if edge.row and ROWS[edge.row].authority.name == whose:
            first.setdefault(edge.endpoint, edge)

    def attempt(edge: Edge) -> str:
        subject = ROWS[edge.row].leaf(session.plan, session.plan.node(edge.source)).subject
        identity = signer.identity(subject, algorithm=session.plan.certificates.algorithm)
        terms = Terms(trust=trust.bundle(store.entries, edge.endpoint.authority), identity=identity, server_name=edge.server_name)
        answer = ask(remote(session, edge.source), edge.endpoint.address, edge.endpoint.port, edge.path, terms=terms)
        return "" if answer.status == 200 else f"{edge.endpoint.title} answers {answer}"

    return [text for text in _at_once(attempt, [(edge,) for edge in first.values()]) if text]


def key_id(public_pem: bytes) -> str:
    """A token's `kid` for the key that signs it: SHA-256 of the public key in DER (k8s.io/kubernetes pkg/serviceaccount)."""
    der = serialization.load_pem_public_key(public_pem).public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return base64.urlsafe_b64encode(hashlib.sha256(der).digest()).rstrip(b"=").decode()


def tokens_of(session: Session, public_pem: bytes) -> list[str]:
    """The pods whose mounted token is signed with that key."""
    going = key_id(public_pem)
    mounted = _mounted(session, _TOKEN_HEADERS)
    return [f"the token of {_pod(path)} on {host}" for host, header, path in mounted if signed_with(header) == going]


def signed_with(header: str) -> str:
    """The `kid` that a JWT's header names; empty when it names none."""
    try:
        found = json.loads(base64.urlsafe_b64decode(header + "=" * (-len(header) % 4)))
    except ValueError:
        return ""
    return str(found.get("kid", "")) if isinstance(found, dict) else ""


def without_authority(session: Session, store: Store, name: str) -> list[str]:
    """The pods whose mounted ca.crt holds the authority that signs and not the one called `name`. Others' files of that name
    are none of ours."""
    rows = (name, name.removesuffix(f"/{trust.NEXT}"))
    wanted, present = (trust.first(store.certificate(row).decode()).strip() for row in rows)
    return [
        f"the ca.crt of {_pod(path)} on {host}"
        for host, content, path in _mounted(session, _AUTHORITIES)
        if present in (text := base64.b64decode(content).decode(errors="replace")) and wanted not in text
    ]


def _pod(path: str) -> str:
    return f"pod {path.split('/')[5]}"


def _mounted(session: Session, script: str) -> Iterator[tuple[str, str, str]]:
    names = [n.name for n in session.plan.kubelets]
    answers = _at_once(lambda name: remote(session, name).run(script, timeout=60).stdout, [(name,) for name in names])
    for name, text in zip(names, answers, strict=True):
        for line in text.splitlines():
            value, _, path = line.partition(" ")
            yield name, value, path


def _at_once(work: Callable[..., str], arguments: Sequence[tuple[Any, ...]]) -> list[str]:
    jobs = [gevent.spawn(work, *given) for given in arguments]
    gevent.joinall(jobs, raise_error=True)
    return [job.value for job in jobs]


def remote(session: Session, name: str) -> Remote:
    """The connection to a host."""
    return session.remotes[name]
