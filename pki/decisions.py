"""For each certificate: keep, issue or renew, with the reason. Pure, except for `carry_out`, which does what was decided."""

from __future__ import annotations

import datetime as dt
import enum
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from cryptography import x509

from kubewright.errors import Failed
from pki import certificates, keys
from pki.certificates import Subject
from pki.store import Entry, Store


@dataclass(frozen=True, kw_only=True)
class Given:
    """An external CA: PEM of its certificate and of its issuers up to the root."""

    certificate: bytes
    key: Path | None
    """Its key's file, read once, at the import. None: the key is kept elsewhere, and nothing is signed here."""


@dataclass(frozen=True, kw_only=True)
class Authority:
    """One of the cluster's authorities. `name` is its row in the store (`ca/etcd`)."""

    name: str
    common_name: str
    given: Given | None = None
    """The external CA; None: it is made here."""


@dataclass(frozen=True, kw_only=True)
class Leaf:
    """One wanted certificate: its name in the store, its authority, its holder."""

    name: str
    authority: str
    subject: Subject


@dataclass(frozen=True, kw_only=True)
class Policy:
    """The kind of keys, and lifetimes in days."""

    algorithm: str
    ca_days: int
    leaf_days: int
    renew_before_days: int


class Verdict(enum.StrEnum):
    KEEP = "keep"
    ISSUE = "issue"
    RENEW = "renew"
    IMPORT = "import"
    """Import an external CA into the store."""
    REQUEST = "request"
    """An external CA must sign it before the next apply."""
    AWAIT = "await"
    """The certificate is valid for now; an external CA must sign the next one."""


CARRIED_OUT = frozenset({Verdict.ISSUE, Verdict.RENEW, Verdict.IMPORT})
ELSEWHERE = {Verdict.ISSUE: Verdict.REQUEST, Verdict.RENEW: Verdict.AWAIT, Verdict.KEEP: Verdict.KEEP}
"""The verdict about a leaf whose authority's key is kept elsewhere, by the usual verdict."""


@dataclass(frozen=True, kw_only=True)
class Decision:
    name: str
    verdict: Verdict
    reason: str


def _decide_leaf(
    leaf: Leaf, entry: Entry | None, authority: x509.Certificate | None, policy: Policy, now: dt.datetime
) -> tuple[Verdict, str]:
    if authority is None:
        return Verdict.ISSUE, f"its authority {leaf.authority} is new"
    if entry is None:
        return Verdict.ISSUE, "there is none yet"
    held = certificates.from_pem(entry.certificate.encode())
    if not signed_by(held, authority):
        return Verdict.ISSUE, f"it was signed by another authority than {leaf.authority}"
    if fields := differing(held, leaf.subject):
        return Verdict.ISSUE, f"the spec changed its {', '.join(fields)}"
    if keys.algorithm_of(held.public_key()) != policy.algorithm:
        return Verdict.ISSUE, f"the spec changed its key to {policy.algorithm}"
    if held.not_valid_after_utc >= authority.not_valid_after_utc:
        return Verdict.KEEP, f"it ends with its authority, {held.not_valid_after_utc:%Y-%m-%d}: no new one would live longer"
    if held.not_valid_after_utc - now < dt.timedelta(days=policy.renew_before_days):
        return Verdict.RENEW, f"it expires {held.not_valid_after_utc:%Y-%m-%d}, within {policy.renew_before_days} days"
    return Verdict.KEEP, f"valid until {held.not_valid_after_utc:%Y-%m-%d}"


def differing(held: x509.Certificate | x509.CertificateSigningRequest, subject: Subject) -> list[str]:
    """The fields of `subject` that differ in `held`; the order of names does not count."""
    said = certificates.subject_of(held)
    return [f for f in vars(said) if _unordered(getattr(said, f)) != _unordered(getattr(subject, f))]


def _unordered(value: object) -> object:
    return frozenset(value) if isinstance(value, tuple) else value


def signed_by(held: x509.Certificate, authority: x509.Certificate) -> bool:
    """Whether `authority` is the named issuer and made the signature."""
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
    renew: frozenset[str] = frozenset(),
) -> tuple[Decision, ...]:
    """The decision for every authority, bare key pair and leaf, in that order. An existing authority is kept.

    `renew`: leaves to renew at any age.
    """
    authorities = [_current(a, store) for a in authorities]
    once = [_once(a.name, a.given, store) for a in authorities] + [_once(name, None, store) for name in pairs]
    offline = {a.name for a in authorities if _offline(a, store)}
    # Parsed once: thousands of leaves have the same three.
    signers = {a.name: certificates.from_pem(store.certificate(a.name)) for a in authorities if a.name in store.entries}
    found = []
    for leaf in leaves:
        verdict, reason = _decide_leaf(leaf, store.entries.get(leaf.name), signers.get(leaf.authority), policy, now)
        if verdict is Verdict.KEEP and leaf.name in renew:
            verdict, reason = Verdict.RENEW, "asked for"
        if leaf.authority in offline:
            verdict = ELSEWHERE[verdict]
        found.append(Decision(name=leaf.name, verdict=verdict, reason=reason))
    return (*once, *found)


def _current(authority: Authority, store: Store) -> Authority:
    """Without external CAs that are not current in the store: a rotation will bring or has removed them."""
    held = store.entries.get(authority.name)
    if authority.given is None or held is None:
        return authority
    same = certificates.from_pem(authority.given.certificate) == certificates.from_pem(held.certificate.encode())
    return authority if same else replace(authority, given=None)


def _once(name: str, given: Given | None, store: Store) -> Decision:
    if name not in store.entries:
        verdict, reason = (Verdict.IMPORT, "cluster.yaml names it") if given else (Verdict.ISSUE, "there is none yet")
    elif given and given.key and not store.entries[name].key_sha256:
        verdict, reason = Verdict.IMPORT, "cluster.yaml names its key now"
    else:
        verdict, reason = Verdict.KEEP, "an authority or key pair is never replaced by apply"
    return Decision(name=name, verdict=verdict, reason=reason)


def _offline(authority: Authority, store: Store) -> bool:
    if authority.given and authority.given.key:
        return False
    held = store.entries.get(authority.name)
    return not held.key_sha256 if held else authority.given is not None


def carry_out(
    authorities: Sequence[Authority],
    leaves: Sequence[Leaf],
    pairs: Sequence[str],
    store: Store,
    policy: Policy,
    now: dt.datetime,
    renew: frozenset[str] = frozenset(),
) -> tuple[Decision, ...]:
    """Decide under the store's lock and make the missing certificates. Returns the decisions that were carried out.

    A new leaf gets a new key. Authorities are stored before anything they sign. Failed, before anything is made, when an
    external CA must sign a leaf.
    """
    with store.locked():
        every = decide(authorities, leaves, pairs, store, policy, now, renew)
        refuse_requests(every)
        decisions = [d for d in every if d.verdict in CARRIED_OUT]
        due = {d.name for d in decisions}
        store.add(
            _authorities([a for a in authorities if a.name in due], policy, now) | _pairs([p for p in pairs if p in due], policy)
        )
        store.add(_leaves([leaf for leaf in leaves if leaf.name in due], store, policy, now))
    return tuple(decisions)


def bring_in(authorities: Sequence[Authority], decisions: Iterable[Decision], store: Store) -> None:
    """Store the external CAs that the store lacks, as `carry_out` does too. Call it under the lock."""
    due = {d.name for d in decisions if d.verdict is Verdict.IMPORT}
    store.add({a.name: _brought(a.given) for a in authorities if a.given and a.name in due})


def _brought(given: Given) -> tuple[bytes, bytes]:
    return given.certificate, given.key.read_bytes() if given.key else b""


def refuse_requests(decisions: Iterable[Decision]) -> None:
    """Failed when an external CA must sign something first."""
    if names := [d.name for d in decisions if d.verdict is Verdict.REQUEST]:
        shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
        raise Failed(
            f"{len(names)} certificates ({shown}) are to be signed by an authority whose key is kept elsewhere; write requests "
            "with `kubewright certs requests -o FOLDER`, have them signed, then `kubewright certs import FOLDER`"
        )


def _authorities(wanted: Sequence[Authority], policy: Policy, now: dt.datetime) -> dict[str, tuple[bytes, bytes]]:
    made = {}
    for authority in wanted:
        if authority.given:
            made[authority.name] = _brought(authority.given)
            continue
        key = keys.generate(policy.algorithm)
        certificate = certificates.self_signed(authority.common_name, key, days=policy.ca_days, now=now)
        made[authority.name] = (certificates.to_pem(certificate), keys.to_pem(key))
    return made


def _pairs(wanted: Sequence[str], policy: Policy) -> dict[str, tuple[bytes, bytes]]:
    made = {name: keys.generate(policy.algorithm) for name in wanted}
    return {name: (keys.public_pem(key), keys.to_pem(key)) for name, key in made.items()}


def _leaves(wanted: Sequence[Leaf], store: Store, policy: Policy, now: dt.datetime) -> Mapping[str, tuple[bytes, bytes]]:
    names = {leaf.authority for leaf in wanted}
    signers = {name: (certificates.from_pem(store.certificate(name)), keys.from_pem(store.key(name))) for name in names}
    above = {name: certificates.below_root(store.certificate(name)) for name in names}
    for name, (authority, _) in signers.items():
        if authority.not_valid_after_utc <= now:
            raise Failed(f"{name}: this authority expired {authority.not_valid_after_utc:%Y-%m-%d}; it can sign nothing any more")
    lifetime = dt.timedelta(days=policy.leaf_days)
    made = {}
    for leaf in wanted:
        key = keys.generate(policy.algorithm)
        certificate = certificates.signed(leaf.subject, key, *signers[leaf.authority], lifetime=lifetime, now=now)
        made[leaf.name] = (certificates.to_pem(certificate) + above[leaf.authority], keys.to_pem(key))
    return made
