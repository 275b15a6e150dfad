"""The authorities behind a credential: it works as long as the cluster trusts its signer, and its kubeconfig trusts the
apiservers."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping

from kubewright.verbs.users.credential import Kind
from kubewright.verbs.users.record import Issued
from pki import trust
from pki.authorities import KUBERNETES, SERVICE_ACCOUNT
from pki.store import Entry

_RESTS_ON: Mapping[Kind, tuple[str, ...]] = {"certificate": (KUBERNETES.name,), "token": (KUBERNETES.name, SERVICE_ACCOUNT)}


def signers(entries: Mapping[str, Entry], kind: Kind) -> tuple[str, ...]:
    """SHA-256 of each authority's certificate, or public key, on which a credential issued now depends. KeyError without
    one."""
    return tuple(_sum(entries[row]) for row in _RESTS_ON[kind])


def rest_on(issued: Iterable[Issued], entry: Entry, now: str) -> list[str]:
    """The names whose credentials are valid (`now` is RFC 3339) and end with the authority or key in that row."""
    ends = _sum(entry)
    return sorted({one.name for one in issued if not one.revoked and one.expires > now and ends in one.signed_by})


def works(one: Issued, entries: Mapping[str, Entry]) -> bool:
    """Whether all its authorities are still trusted. Credentials from before this record count as trusted."""
    rows = [f"{row}{suffix}" for row in _RESTS_ON[one.kind] for suffix in ("", f"/{trust.PREVIOUS}", f"/{trust.NEXT}")]
    return set(one.signed_by) <= {_sum(entries[row]) for row in rows if row in entries}


def _sum(entry: Entry) -> str:
    return hashlib.sha256(trust.first(entry.certificate).encode()).hexdigest()
