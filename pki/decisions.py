"""For each certificate: keep, issue or renew, with the reason. Pure; then `carry_out` does what was decided."""

from __future__ import annotations

import datetime as dt
import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cryptography import x509

from kubewright.errors import Failed
from pki import certificates, keys
from pki.certificates import Subject
from pki.store import Store


@dataclass(frozen=True, kw_only=True)
class Authority:
    """One of the cluster's own authorities. `name` is its row in the store (`ca/etcd`)."""

    name: str
    common_name: str


@dataclass(frozen=True, kw_only=True)
class Leaf:
    """One certificate wanted: its name in the store, who signs it, what it says."""

    name: str
    authority: str
    subject: Subject


@dataclass(frozen=True, kw_only=True)
class Policy:
    """How keys and certificates are made. Days."""

    algorithm: str
    ca_days: int
    leaf_days: int
    renew_before_days: int


class Verdict(enum.StrEnum):
    KEEP = "keep"
    ISSUE = "issue"
    RENEW = "renew"


@dataclass(frozen=True, kw_only=True)
class Decision:
    name: str
    verdict: Verdict
    reason: str


def _decide_leaf(leaf: Leaf, store: Store, policy: Policy, now: dt.datetime) -> tuple[Verdict, str]:
    if leaf.authority not in store.entries:
        return Verdict.ISSUE, f"its authority {leaf.authority} is new"
    if leaf.name not in store.entries:
        return Verdict.ISSUE, "there is none yet"
    held = certificates.from_pem(store.certificate(leaf.name))
    authority = certificates.from_pem(store.certificate(leaf.authority))
    if held.issuer != authority.subject or not _signed_by(held, authority):
        return Verdict.ISSUE, f"it was signed by another authority than {leaf.authority}"
    said = certificates.subject_of(held)
    if fields := [f for f in vars(said) if _unordered(getattr(said, f)) != _unordered(getattr(leaf.subject, f))]:
        return Verdict.ISSUE, f"the spec changed its {', '.join(fields)}"
    if keys.algorithm_of(held.public_key()) != policy.algorithm:
        return Verdict.ISSUE, f"the spec changed its key to {policy.algorithm}"
    if held.not_valid_after_utc >= authority.not_valid_after_utc:
        return Verdict.KEEP, f"it ends with its authority, {held.not_valid_after_utc:%Y-%m-%d}: no new one would live longer"
    if held.not_valid_after_utc - now < dt.timedelta(days=policy.renew_before_days):
        return Verdict.RENEW, f"it expires {held.not_valid_after_utc:%Y-%m-%d}, within {policy.renew_before_days} days"
    return Verdict.KEEP, f"valid until {held.not_valid_after_utc:%Y-%m-%d}"


def _unordered(value: object) -> object:
    return frozenset(value) if isinstance(value, tuple) else value


def _signed_by(held: x509.Certificate, authority: x509.Certificate) -> bool:
    try:
        held.verify_directly_issued_by(authority)
    except Exception:
        return False
    return True


def decide(
    authorities: Sequence[Authority],
    leaves: Sequence[Leaf],
    pairs: Sequence[str],
    store: Store,
    policy: Policy,
    now: dt.datetime,
) -> tuple[Decision, ...]:
    """What to do for every authority, bare key pair and leaf, in that order. An authority that exists is kept."""
    once = [
        Decision(
            name=name,
            verdict=Verdict.KEEP if name in store.entries else Verdict.ISSUE,
            reason="an authority or key pair is never replaced by apply" if name in store.entries else "there is none yet",
        )
        for name in (*(a.name for a in authorities), *pairs)
    ]
    verdicts = ((leaf.name, _decide_leaf(leaf, store, policy, now)) for leaf in leaves)
    return (*once, *(Decision(name=name, verdict=verdict, reason=reason) for name, (verdict, reason) in verdicts))


def carry_out(
    authorities: Sequence[Authority],
    leaves: Sequence[Leaf],
    pairs: Sequence[str],
    store: Store,
    policy: Policy,
    now: dt.datetime,
) -> tuple[Decision, ...]:
    """Decide under the store's lock and make what is missing. Returns the decisions that were carried out.

    A new leaf gets a new key. Authorities are stored before anything they sign.
    """
    with store.locked():
        decisions = [d for d in decide(authorities, leaves, pairs, store, policy, now) if d.verdict is not Verdict.KEEP]
        due = {d.name for d in decisions}
        store.add(
            _authorities([a for a in authorities if a.name in due], policy, now) | _pairs([p for p in pairs if p in due], policy)
        )
        store.add(_leaves([leaf for leaf in leaves if leaf.name in due], store, policy, now))
    return tuple(decisions)


def _authorities(wanted: Sequence[Authority], policy: Policy, now: dt.datetime) -> dict[str, tuple[bytes, bytes]]:
    made = {}
    for authority in wanted:
        key = keys.generate(policy.algorithm)
        certificate = certificates.self_signed(authority.common_name, key, days=policy.ca_days, now=now)
        made[authority.name] = (certificates.to_pem(certificate), keys.to_pem(key))
    return made


def _pairs(wanted: Sequence[str], policy: Policy) -> dict[str, tuple[bytes, bytes]]:
    made = {name: keys.generate(policy.algorithm) for name in wanted}
    return {name: (keys.public_pem(key), keys.to_pem(key)) for name, key in made.items()}


def _leaves(wanted: Sequence[Leaf], store: Store, policy: Policy, now: dt.datetime) -> Mapping[str, tuple[bytes, bytes]]:
    signers = {
        name: (certificates.from_pem(store.certificate(name)), keys.from_pem(store.key(name)))
        for name in {leaf.authority for leaf in wanted}
    }
    for name, (authority, _) in signers.items():
        if authority.not_valid_after_utc <= now:
            raise Failed(f"{name}: this authority expired {authority.not_valid_after_utc:%Y-%m-%d}; it can sign nothing any more")
    lifetime = dt.timedelta(days=policy.leaf_days)
    made = {}
    for leaf in wanted:
        key = keys.generate(policy.algorithm)
        certificate = certificates.signed(leaf.subject, key, *signers[leaf.authority], lifetime=lifetime, now=now)
        made[leaf.name] = (certificates.to_pem(certificate), keys.to_pem(key))
    return made
