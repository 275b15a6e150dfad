"""Authorities and leaves for the tests, in each algorithm; made once, because RSA keys take time."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from functools import cache
from ipaddress import IPv4Address

import pytest
from cryptography import x509

from pki import certificates, keys
from pki.certificates import Subject
from pki.keys import Key

NOW = dt.datetime.now(dt.UTC).replace(microsecond=0)
SERVER = Subject(
    common_name="kube-apiserver",
    usages=("server",),
    dns_names=("m1", "kubernetes.default.svc"),
    addresses=(IPv4Address("192.0.2.11"), IPv4Address("127.0.0.1")),
)
CLIENT = Subject(common_name="system:node:m1", organizations=("system:nodes",), usages=("client",))
PEER = Subject(
    common_name="kube-etcd-peer", usages=("server", "client"), dns_names=("m1",), addresses=(IPv4Address("192.0.2.11"),)
)


@dataclass(frozen=True, kw_only=True)
class Issuer:
    algorithm: str
    key: Key
    certificate: x509.Certificate

    def issue(self, subject: Subject, *, days: int = 365, now: dt.datetime = NOW) -> tuple[x509.Certificate, Key]:
        key = keys.generate("ecdsa-p256" if self.algorithm == "ecdsa-p256" else "rsa-2048")
        made = certificates.signed(subject, key, self.certificate, self.key, lifetime=dt.timedelta(days=days), now=now)
        # Other programs read PEM, and so do these tests.
        return certificates.from_pem(certificates.to_pem(made)), key


@cache
def issuer(algorithm: str, common_name: str = "kubernetes-ca", days: int = 3650) -> Issuer:
    key = keys.generate(algorithm)
    made = certificates.self_signed(common_name, key, days=days, now=NOW)
    return Issuer(algorithm=algorithm, key=key, certificate=certificates.from_pem(certificates.to_pem(made)))


@pytest.fixture(params=keys.ALGORITHMS)
def authority(request: pytest.FixtureRequest) -> Issuer:
    return issuer(request.param)
