"""External CAs: below a company's root, and with every fault that makes them unusable."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.name import _ASN1Type
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

NOW = dt.datetime.now(dt.UTC).replace(microsecond=0)


@dataclass(frozen=True, kw_only=True)
class Ca:
    certificate: x509.Certificate
    key: Any

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    def key_pem(self, password: bytes | None = None) -> bytes:
        how = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
        return bytes(self.key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, how))


def make(
    name: str,
    above: Ca | None = None,
    *,
    ca: bool = True,
    pathlen: int | None = None,
    key: Any = None,
    sign: bool = True,
    usages: tuple[x509.ObjectIdentifier, ...] = (),
    begins: int = -1,
    ends: int = 3650,
    constraints: bool = False,
    usage: bool = True,
    identifier: bytes = b"",
    encoding: _ASN1Type | None = None,
) -> Ca:
    """An authority called `name`; `begins` and `ends` are days from now."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name, encoding)] if name else [])
    signer = above.key if above else key
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(above.certificate.subject if above else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW + dt.timedelta(days=begins))
        .not_valid_after(NOW + dt.timedelta(days=ends))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=pathlen if ca else None), critical=True)
    )
    if usage:
        signs = x509.KeyUsage(True, False, False, False, False, ca and sign, ca and sign, False, False)
        made = made.add_extension(signs, critical=True)
    own = x509.SubjectKeyIdentifier(identifier or x509.SubjectKeyIdentifier.from_public_key(key.public_key()).digest)
    made = made.add_extension(own, critical=False)
    if above:
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(above.key.public_key())
        made = made.add_extension(issuer, critical=False)
    if usages:
        made = made.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
    if constraints:
        company = x509.NameConstraints(permitted_subtrees=[x509.DNSName("company.example")], excluded_subtrees=None)
        made = made.add_extension(company, critical=True)
    no_hash = isinstance(signer, ed25519.Ed25519PrivateKey)
    return Ca(certificate=made.sign(signer, None if no_hash else hashes.SHA256()), key=key)


ROOT = make("Company Root")
MIDDLE = make("Company Issuing", ROOT, pathlen=1)
OURS = make("prod Kubernetes", MIDDLE, pathlen=0)
CHAIN = OURS.pem + MIDDLE.pem + ROOT.pem
CODE_SIGNING = (ExtendedKeyUsageOID.CODE_SIGNING,)


def weak() -> Any:
    return rsa.generate_private_key(public_exponent=65537, key_size=1024)  # noqa: S505


def ed() -> Any:
    return ed25519.Ed25519PrivateKey.generate()
