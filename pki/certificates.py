"""X.509 certificates: self-signed authorities, and leaves that they sign. Terms of RFC 5280."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from ipaddress import IPv4Address

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from pki.keys import Key

CLOCK_SKEW = dt.timedelta(minutes=5)
"""A certificate's validity starts this long before its issue, for hosts whose clocks are a little behind."""

USAGES = {"server": ExtendedKeyUsageOID.SERVER_AUTH, "client": ExtendedKeyUsageOID.CLIENT_AUTH}


@dataclass(frozen=True, kw_only=True)
class Subject:
    """The holder of a certificate, as the certificate describes it. `usages` are keys of `USAGES`."""

    common_name: str
    organizations: tuple[str, ...] = ()
    usages: tuple[str, ...] = ()
    dns_names: tuple[str, ...] = ()
    addresses: tuple[IPv4Address, ...] = ()


def _name(subject: Subject) -> x509.Name:
    organizations = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, o) for o in subject.organizations]
    return x509.Name([*organizations, x509.NameAttribute(NameOID.COMMON_NAME, subject.common_name)])


def _key_usage(*, authority: bool) -> x509.KeyUsage:
    # keyEncipherment is for TLS 1.2 key transport, which only RSA has and the cipher lists leave out.
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=authority,
        crl_sign=authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def self_signed(common_name: str, key: Key, *, days: int, now: dt.datetime) -> x509.Certificate:
    """An authority's certificate: CA, path length 1 (it signs leaves, and its successor)."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    public = key.public_key()
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_SKEW)
        .not_valid_after(now + dt.timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=True, path_length=1), critical=True)
        .add_extension(_key_usage(authority=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .sign(key, hashes.SHA256())
    )


def path_length(authority: x509.Certificate) -> int | None:
    """The path length: how many authorities may follow below it; None: any number."""
    return authority.extensions.get_extension_for_class(x509.BasicConstraints).value.path_length


def cross_signed(
    successor: x509.Certificate, authority: x509.Certificate, authority_key: Key, *, now: dt.datetime
) -> x509.Certificate:
    """`successor`'s name and key, signed by `authority`: clients that trust only the old one accept certificates of the new one.

    Its path length must not be 0.
    """
    return (
        x509.CertificateBuilder()
        .subject_name(successor.subject)
        .issuer_name(authority.subject)
        .public_key(successor.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_SKEW)
        .not_valid_after(min(successor.not_valid_after_utc, authority.not_valid_after_utc))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(authority=True), critical=True)
        .add_extension(_own_identifier(successor), critical=False)
        .add_extension(_key_identifier(authority), critical=False)
        .sign(authority_key, hashes.SHA256())
    )


def signed(
    subject: Subject,
    key: Key | x509.CertificateSigningRequest,
    authority: x509.Certificate,
    authority_key: Key,
    *,
    lifetime: dt.timedelta,
    now: dt.datetime,
) -> x509.Certificate:
    """A leaf for `key`, or for the key of a request, signed by `authority`; never valid for longer than the authority itself."""
    public = key.public_key()
    builder = (
        x509.CertificateBuilder()
        .subject_name(_name(subject))
        .issuer_name(authority.subject)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_SKEW)
        .not_valid_after(min(now + lifetime, authority.not_valid_after_utc))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(authority=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([USAGES[usage] for usage in subject.usages]), critical=False)
        .add_extension(_key_identifier(authority), critical=False)
    )
    if names := _names(subject):
        builder = builder.add_extension(names, critical=False)
    return builder.sign(authority_key, hashes.SHA256())


def request(subject: Subject, key: Key) -> x509.CertificateSigningRequest:
    """A request (PKCS #10) for the certificate that `signed` would make, with every extension for the signer to copy."""
    builder = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(_name(subject))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(authority=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([USAGES[usage] for usage in subject.usages]), critical=False)
    )
    if names := _names(subject):
        builder = builder.add_extension(names, critical=False)
    return builder.sign(key, hashes.SHA256())


def _names(subject: Subject) -> x509.SubjectAlternativeName | None:
    names = [x509.DNSName(n) for n in subject.dns_names] + [x509.IPAddress(a) for a in subject.addresses]
    return x509.SubjectAlternativeName(names) if names else None


def _own_identifier(certificate: x509.Certificate) -> x509.SubjectKeyIdentifier:
    try:
        return certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    except x509.ExtensionNotFound:  # an external CA
        return x509.SubjectKeyIdentifier.from_public_key(certificate.public_key())


def _key_identifier(authority: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    try:
        own = authority.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    except x509.ExtensionNotFound:  # an external CA may have none
        return x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.public_key())  # type: ignore[arg-type]
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(own)


def is_root(certificate: x509.Certificate) -> bool:
    """Whether it is self-issued, without another issuer."""
    return certificate.subject == certificate.issuer


def below_root(authority_pem: bytes) -> bytes:
    """The chain that a server sends after its leaf: the authority and its issuers, PEM, without the root; empty when the
    authority is a root itself. A cross-signed certificate of the authority's key comes first when it is next in
    `authority_pem`: see `pki.rotation`."""
    chain = x509.load_pem_x509_certificates(authority_pem)
    if len(chain) > 1 and chain[1].public_key() == chain[0].public_key():
        chain[:2] = reversed(chain[:2])
    return b"".join(to_pem(c) for c in chain if not is_root(c))


def to_pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def from_pem(pem: bytes) -> x509.Certificate:
    """The first certificate in `pem`; its issuers may follow."""
    return x509.load_pem_x509_certificate(pem)


def subject_of(certificate: x509.Certificate | x509.CertificateSigningRequest) -> Subject:
    """The holder in a certificate or a request. Comparison with the table decides whether to keep or issue."""
    organizations = tuple(str(a.value) for a in certificate.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME))
    common_name = "".join(str(a.value) for a in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME))
    try:
        usages = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        usages = x509.ExtendedKeyUsage([])
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        names = x509.SubjectAlternativeName([])
    return Subject(
        common_name=common_name,
        organizations=organizations,
        usages=tuple(name for name, oid in USAGES.items() if oid in usages),
        dns_names=tuple(names.get_values_for_type(x509.DNSName)),
        addresses=tuple(a for a in names.get_values_for_type(x509.IPAddress) if isinstance(a, IPv4Address)),
    )
