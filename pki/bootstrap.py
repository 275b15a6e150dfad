"""A certificate of system:masters that lives for minutes: it binds the administrators' group, nothing else ever has it."""

from __future__ import annotations

import datetime as dt

from pki import certificates, keys
from pki.store import Store
from pki.table import KUBERNETES

LIFETIME = dt.timedelta(minutes=15)


def credential(store: Store, algorithm: str) -> tuple[bytes, bytes]:
    """Certificate and key, PEM. They are kept nowhere."""
    key = keys.generate(algorithm)
    subject = certificates.Subject(common_name="kubewright-bootstrap", organizations=("system:masters",), usages=("client",))
    authority = certificates.from_pem(store.certificate(KUBERNETES.name))
    authority_key = keys.from_pem(store.key(KUBERNETES.name))
    now = dt.datetime.now(dt.UTC)
    signed = certificates.signed(subject, key, authority, authority_key, lifetime=LIFETIME, now=now)
    return certificates.to_pem(signed), keys.to_pem(key)
