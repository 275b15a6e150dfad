"""Certificates that Go's crypto/x509 or OpenSSL refuse, although `cryptography` reads them. Pure.

Go verifies for Kubernetes and etcd; OpenSSL for many clients in pods. The tests ask both about every rule.
[Go: crypto/x509/parser.go, verify.go, x509.go; OpenSSL: crypto/x509/x509_vfy.c, v3_purp.c; Python: ssl.create_default_context]
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.x509.oid import ExtensionOID, PublicKeyAlgorithmOID

from pki.fault import Fault

_E = TypeVar("_E", bound=x509.ExtensionType)

SERIAL_BITS = 159
"""20 octets, the first bit of which is the sign [RFC 5280, 4.1.2.2]."""
_CRITICAL = frozenset(
    (
        ExtensionOID.BASIC_CONSTRAINTS,
        ExtensionOID.KEY_USAGE,
        ExtensionOID.EXTENDED_KEY_USAGE,
        ExtensionOID.SUBJECT_ALTERNATIVE_NAME,
        ExtensionOID.NAME_CONSTRAINTS,
        ExtensionOID.CRL_DISTRIBUTION_POINTS,
        ExtensionOID.CERTIFICATE_POLICIES,
        ExtensionOID.POLICY_CONSTRAINTS,
        ExtensionOID.POLICY_MAPPINGS,
        ExtensionOID.INHIBIT_ANY_POLICY,
    )
)
"""Extensions that both know, and may be marked critical."""
_REISSUE = "issue it again with one of these"
_STRICT = "have it issued again; else strict verifiers refuse every certificate below it: Python 3.13 and later, for one, in pods"


def refusals(certificate: x509.Certificate, which: str, *, root: bool) -> Iterator[Fault]:
    """Why one of the two would refuse `certificate`. `which` ends the sentence: the certificate's owner."""
    yield from _serial(certificate, which)
    yield from _written_key(certificate, which)
    for extension in certificate.extensions:
        if extension.critical and extension.oid not in _CRITICAL:
            name = extension.oid.dotted_string
            yield Fault(
                what=f"a critical extension that verifiers do not know or do not allow{which} ({name})",
                allowed="critical only where RFC 5280 asks for it: basicConstraints, keyUsage and the like",
                todo="issue it again without that extension, or not critical",
            )
    if root:
        return  # neither checks a root's own signature or its policies
    yield from _signature(certificate, which)
    policy = extension_of(certificate, x509.PolicyConstraints)
    if policy is not None and policy.require_explicit_policy is not None:
        yield Fault(
            what=f"a certificate that requires a policy of every certificate below it{which} (requireExplicitPolicy)",
            allowed="no requireExplicitPolicy: the cluster's certificates name no policy",
            todo="use one without",
        )


def _serial(certificate: x509.Certificate, which: str) -> Iterator[Fault]:
    number = certificate.serial_number
    if number <= 0 or number.bit_length() > SERIAL_BITS:
        kind = "negative" if number < 0 else "zero" if number == 0 else "longer than 20 octets"
        yield Fault(
            what=f"a serial number that is {kind}{which} ({number})",
            allowed="a positive number of at most 20 octets",
            todo="issue it again with another serial number",
        )


def _written_key(certificate: x509.Certificate, which: str) -> Iterator[Fault]:
    """The public key must have the one encoding that Go reads."""
    key = certificate.public_key()
    usual = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    if certificate.public_key_algorithm_oid == PublicKeyAlgorithmOID.RSASSA_PSS:
        yield Fault(
            what=f"a key for RSASSA-PSS only{which}",
            allowed="an RSA key of the usual kind (rsaEncryption), or ECDSA",
            todo=_REISSUE,
        )
    elif usual not in certificate.tbs_certificate_bytes:
        elliptic = isinstance(key, ec.EllipticCurvePublicKey)
        what = "explicit curve parameters, or a compressed point" if elliptic else "unusual parameters"
        allowed = "a curve by its name, and an uncompressed point" if elliptic else "a key with NULL parameters (RFC 3279)"
        yield Fault(what=f"a public key with {what}{which}", allowed=allowed, todo="issue it again in that form")


def _signature(certificate: x509.Certificate, which: str) -> Iterator[Fault]:
    allowed = "SHA-256, SHA-384 or SHA-512; with RSASSA-PSS, a salt as long as the hash"
    try:
        digest, parameters = certificate.signature_hash_algorithm, certificate.signature_algorithm_parameters
    except UnsupportedAlgorithm:
        name = certificate.signature_algorithm_oid.dotted_string
        yield Fault(what=f"a signature of an unknown kind{which} ({name})", allowed=allowed, todo="have it signed again")
        return
    if digest is None:
        return  # Ed25519: judged by the issuer's key
    if not isinstance(digest, hashes.SHA256 | hashes.SHA384 | hashes.SHA512):
        yield Fault(what=f"a weak signature{which} ({digest.name})", allowed=allowed, todo="have it signed again")
    elif isinstance(parameters, padding.PSS) and not _usual(parameters, digest):
        yield Fault(what=f"an RSASSA-PSS signature with unusual parameters{which}", allowed=allowed, todo="have it signed again")


def _usual(pss: padding.PSS, digest: hashes.HashAlgorithm) -> bool:
    """Algorithms that Go accepts [x509.go: getSignatureAlgorithmFromAI]."""
    return pss._salt_length == digest.digest_size and pss.mgf._algorithm.name == digest.name


def mismatches(lower: x509.Certificate, upper: x509.Certificate) -> Iterator[Fault]:
    """Why one of the two would not accept `upper`, which signed `lower`, as its issuer."""
    name = upper.subject.rfc4514_string()
    named, own = extension_of(lower, x509.AuthorityKeyIdentifier), extension_of(upper, x509.SubjectKeyIdentifier)
    other_key = named and own and named.key_identifier not in (None, own.digest)
    other_serial = named and named.authority_cert_serial_number not in (None, upper.serial_number)
    if other_key or other_serial:
        yield Fault(
            what=f"an authorityKeyIdentifier that names another certificate than {name}",
            allowed="the subjectKeyIdentifier and serial number of the one above",
            todo="put the certificate above it that it names",
        )


def strict_only(certificate: x509.Certificate, which: str, *, root: bool) -> Iterator[Fault]:
    """Why only strict verifiers (OpenSSL's X509_STRICT) would refuse an authority: a warning, not a refusal."""
    if extension_of(certificate, x509.KeyUsage) is None:
        yield Fault(what=f"no keyUsage{which}", allowed="keyUsage with keyCertSign", todo=_STRICT)
    if not certificate.extensions.get_extension_for_class(x509.BasicConstraints).critical:
        yield Fault(what=f"basicConstraints is not critical{which}", allowed="critical", todo=_STRICT)
    if extension_of(certificate, x509.SubjectKeyIdentifier) is None:
        yield Fault(what=f"no subjectKeyIdentifier{which}", allowed="a subjectKeyIdentifier", todo=_STRICT)
    named = extension_of(certificate, x509.AuthorityKeyIdentifier)
    if not root and (named is None or named.key_identifier is None):
        yield Fault(what=f"no authorityKeyIdentifier{which}", allowed="one with the issuer's key identifier", todo=_STRICT)


def extension_of(certificate: x509.Certificate, kind: type[_E]) -> _E | None:
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None
