"""The identity of a TLS client or server: a certificate and its key, from the store or made for a test of refusal.

Test identities stay in memory and are valid for an hour: they are never written, here or on a host.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field, replace

from cryptography import x509

from pki import certificates, keys
from pki.certificates import Subject
from pki.keys import Key
from pki.store import Store

LIFETIME = dt.timedelta(hours=1)
_DAY = dt.timedelta(days=1)


@dataclass(frozen=True, kw_only=True)
class Identity:
    """A certificate and its key, both PEM, and a name for people."""

    title: str
    certificate: bytes = field(repr=False)
    key: bytes = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class Signer:
    """An authority with its key, for as long as it is needed."""

    name: str
    certificate: x509.Certificate = field(repr=False)
    key: Key = field(repr=False)

    def identity(self, subject: Subject, *, algorithm: str, expired: bool = False) -> Identity:
        """A certificate for `subject` with a new key of `algorithm`; `expired`: since a day ago."""
        now = dt.datetime.now(dt.UTC) - (_DAY + LIFETIME if expired else dt.timedelta())
        key = keys.generate(algorithm)
        signed = certificates.signed(subject, key, self.certificate, self.key, lifetime=LIFETIME, now=now)
        title = f"{self.name}: {subject.common_name}{', expired' if expired else ''}"
        return Identity(title=title, certificate=certificates.to_pem(signed), key=keys.to_pem(key))


def stored(store: Store, name: str) -> Identity:
    """A certificate of the cluster's own authorities. KeyError when there is none; Failed when its key is not in the store."""
    return Identity(title=name, certificate=store.certificate(name), key=store.key(name))


def signer(store: Store, name: str) -> Signer:
    """The authority with that name in the store. KeyError and Failed as `stored`."""
    identity = stored(store, name)
    certificate = certificates.from_pem(identity.certificate)
    return Signer(name=name, certificate=certificate, key=keys.from_pem(identity.key))


def foreign(common_name: str, algorithm: str) -> Signer:
    """An untrusted authority with the name `common_name`."""
    key = keys.generate(algorithm)
    made = certificates.self_signed(common_name, key, days=1, now=dt.datetime.now(dt.UTC))
    return Signer(name="foreign", certificate=made, key=key)


def renamed(subject: Subject, common_name: str) -> Subject:
    """`subject` with another name and without groups."""
    return replace(subject, common_name=common_name, organizations=())
