"""The certificates (or public keys) that hosts trust as one authority. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from cryptography import x509

from pki.store import Entry

NEXT, PREVIOUS, DROPPED = "next", "previous", "dropped"
"""Further rows of an authority during its rotation: `ca/etcd` signs, `ca/etcd/next` will sign, `ca/etcd/previous` signed
before. A dropped one is no longer trusted."""
FORMER = "former"
"""All dropped ones, without their keys. A host that was left out may still trust one of them, and is recognised by it."""

_END = "-----END CERTIFICATE-----\n"


def bundle(entries: Mapping[str, Entry], name: str) -> bytes:
    """The certificates that hosts trust as `name` (`ca/etcd`, `service-account`), PEM, the oldest first. The order stays when
    another one begins to sign.

    The issuers of an authority (its row may hold a chain) are never trusted: a company's root as a client CA would admit
    the whole company. KeyError when there is no such row.
    """
    return "".join(first(row.certificate) for row in _rows(entries, name)).encode()


def anchors(entries: Mapping[str, Entry], name: str) -> bytes:
    """`bundle` and the issuers of each authority, for programs that accept an authority only together with its root.

    OpenSSL needs the root unless X509_V_FLAG_PARTIAL_CHAIN is set: curl sets it, Go needs no root, haproxy 2.6 and Python
    before 3.13 do not set it [tried]. Only for a client that verifies a server by name.
    """
    above = dict.fromkeys(pem for row in _rows(entries, name) for pem in _above(row.certificate))
    return bundle(entries, name) + "".join(above).encode()


def ahead(entries: Mapping[str, Entry], name: str, held: frozenset[str]) -> tuple[str, ...]:
    """The certificate that proves this store older than a host. `held`: the certificates (PEM) that the host trusts.

    The host trusts only the new authority of `name`, while these rows trust both. The store always changes before hosts do.
    """
    rows = [first(row.certificate).strip() for row in _rows(entries, name)] if name in entries else []
    return (rows[-1],) if len(rows) > 1 and rows[-1] in held and rows[0] not in held else ()


def _rows(entries: Mapping[str, Entry], name: str) -> list[Entry]:
    wanted = (f"{name}/{PREVIOUS}", name, f"{name}/{NEXT}")
    return [entries[row] for row in wanted if row in entries or row == name]


def _above(pem: str) -> list[str]:
    """The issuers of the first certificate. A cross-signed certificate of its own key is not an issuer."""
    parts = _split(pem)
    if len(parts) < 2:
        return []
    own, *others = x509.load_pem_x509_certificates(pem.encode())
    return [part for part, other in zip(parts[1:], others, strict=True) if other.public_key() != own.public_key()]


def _split(pem: str) -> list[str]:
    return [part + _END for part in pem.split(_END)[:-1]]


def first(pem: str) -> str:
    """The first certificate of several; a public key whole."""
    own, end, _ = pem.partition(_END)
    return own + end
