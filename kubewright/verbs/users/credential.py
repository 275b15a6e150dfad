"""A person's credential: a certificate, or a service account's token. Each issue is a credential of its own."""

from __future__ import annotations

import datetime as dt
import secrets
from dataclasses import dataclass
from typing import Any, Literal

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa

from kubewright.errors import Failed, Problem
from kubewright.verbs.users.wanted import HOME
from pki import certificates, keys
from pki.authorities import KUBERNETES
from pki.store import Store

PREFIX = "kubewright:"
_RBAC = "rbac.authorization.k8s.io"

Kind = Literal["certificate", "token"]


@dataclass(frozen=True, kw_only=True)
class Credential:
    """One issue. `id` is never reused, so revoked rights cannot return with the next issue for the same name."""

    kind: Kind
    name: str
    id: str

    @property
    def account(self) -> str:
        """The service account behind a token, in `HOME`."""
        return f"{self.name}-{self.id}"

    @property
    def username(self) -> str:
        """The holder's name to an apiserver: a certificate's common name, or the service account's."""
        return f"system:serviceaccount:{HOME}:{self.account}" if self.kind == "token" else f"{PREFIX}{self.name}:{self.id}"

    @property
    def subject(self) -> dict[str, str]:
        """The subject in RBAC's bindings."""
        if self.kind == "token":
            return {"kind": "ServiceAccount", "namespace": HOME, "name": self.account}
        return {"apiGroup": _RBAC, "kind": "User", "name": self.username}


def new(kind: Kind, name: str) -> Credential:
    return Credential(kind=kind, name=name, id=secrets.token_hex(6))


def request_problem(pem: bytes) -> str:
    """Why a certificate signing request (PEM) can't be signed; empty when it can. Its own names are ignored."""
    try:
        request = x509.load_pem_x509_csr(pem)
    except ValueError:
        return "not a certificate signing request in PEM"
    if not request.is_signature_valid:
        return "its signature does not verify: the sender may not hold the key"
    public = request.public_key()
    strong = isinstance(public, rsa.RSAPublicKey) and public.key_size >= 2048
    return "" if strong or keys.algorithm_of(public) == "ecdsa-p256" else f"its key is {keys.algorithm_of(public)}"


def csr_problems(where: str, pem: bytes) -> list[Problem]:
    """The same time, for people."""
    todo = "make one: openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout NAME.key -subj /CN=NAME"
    why = request_problem(pem)
    return [Problem(where=where, what=why, allowed="a PEM request with an ECDSA P-256 or RSA key", todo=todo)] if why else []


def certify(credential: Credential, store: Store, *, days: int, algorithm: str, csr: bytes | None) -> tuple[bytes, bytes]:
    """Certificate and key, PEM; the key is empty when the person has it and sent a request. Neither is stored.

    Failed when the kubernetes authority's key is not in the store, or the authority has expired.
    """
    subject = certificates.Subject(common_name=credential.username, usages=("client",))
    authority = certificates.from_pem(store.certificate(KUBERNETES.name))
    now = dt.datetime.now(dt.UTC)
    if authority.not_valid_after_utc <= now:
        raise Failed(f"{KUBERNETES.name}: this authority expired {authority.not_valid_after_utc:%Y-%m-%d}; it can sign nothing")
    authority_key = keys.from_pem(store.key(KUBERNETES.name))
    own = None if csr else keys.generate(algorithm)
    holder = own or x509.load_pem_x509_csr(csr or b"")
    signed = certificates.signed(subject, holder, authority, authority_key, lifetime=dt.timedelta(days=days), now=now)
    return certificates.to_pem(signed), keys.to_pem(own) if own else b""


def expiry(certificate: bytes) -> str:
    """RFC 3339, UTC."""
    return stamp(certificates.from_pem(certificate).not_valid_after_utc)


def stamp(moment: dt.datetime) -> str:
    """RFC 3339, UTC, whole seconds."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


Object = dict[str, Any]
"""A Kubernetes object."""
