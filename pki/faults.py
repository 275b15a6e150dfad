"""Faults of certificates and keys from other sources. Pure: the rules of RFC 5280, and those of Go's verifier."""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Iterator, Sequence

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from pki import certificates, keys, verifiers
from pki.certificates import Subject
from pki.decisions import differing, signed_by
from pki.fault import Fault
from pki.verifiers import extension_of

MIN_RSA = 2048
"""Bits. Go refuses less than 1024, CIS and NIST SP 800-131A less than this."""
_SERVES = {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH}
_KINDS = f"RSA from {MIN_RSA} bits, ECDSA P-256, P-384 or P-521"


def read_certificates(pem: bytes) -> tuple[x509.Certificate, ...] | Fault:
    """All certificates in `pem`, in order, at least one; or why there are none."""
    allowed = "certificates in PEM (-----BEGIN CERTIFICATE-----)"
    if b"-----BEGIN CERTIFICATE-----" not in pem:
        what, todo = "not a certificate in PEM", "if it is DER, convert it: openssl x509 -inform der -in FILE"
        if b"PRIVATE KEY-----" in pem:
            what, todo = "a private key, not a certificate", "name the certificate's file"
        elif b"CERTIFICATE REQUEST-----" in pem:
            what, todo = "a request, not a certificate", "have it signed, and name what came back"
        return Fault(what=what, allowed=allowed, todo=todo)
    try:
        found = tuple(x509.load_pem_x509_certificates(pem))
        for certificate in found:
            _ = certificate.subject, certificate.extensions
            certificate.public_key()
    except (ValueError, UnsupportedAlgorithm, x509.DuplicateExtension, x509.InvalidVersion) as error:
        return Fault(what=f"a certificate that can't be read ({error})", allowed=allowed, todo="get it again from who issued it")
    return found


def of_key(pem: bytes, certificate: x509.Certificate) -> Iterator[Fault]:
    """The faults of a private key, and whether it belongs to `certificate`."""
    if b"PRIVATE KEY-----" not in pem:
        what, todo = "not a private key in PEM", "if it is DER, convert it: openssl pkey -inform der -in FILE"
        yield Fault(what=what, allowed="an unencrypted private key in PEM", todo=todo)
        return
    try:
        key = keys.from_pem(pem)
    except TypeError:  # what cryptography raises when a password is needed
        todo = "decrypt it (openssl pkey -in FILE -out NEW, umask 077); encrypt the store with: kubewright secrets encrypt"
        yield Fault(what="an encrypted key", allowed="an unencrypted one, mode 0600", todo=todo)
    except (ValueError, UnsupportedAlgorithm):
        yield Fault(what="a key that can't be read, or of another kind", allowed=_KINDS, todo="name another")
    else:
        if key.public_key() != certificate.public_key():
            yield Fault(
                what="not the key of that certificate",
                allowed="the private key whose public key is in the certificate",
                todo="compare: openssl x509 -noout -pubkey -in CERTIFICATE; openssl pkey -pubout -in KEY",
            )


def of_authority(chain: Sequence[x509.Certificate], now: dt.datetime) -> Iterator[Fault]:
    """Faults of an authority and its issuers up to the root, as a signer of leaves."""
    for depth, certificate in enumerate(chain):
        yield from _own(certificate, _which(certificate, depth), depth, now)
    for lower, upper in itertools.pairwise(chain):
        if not signed_by(lower, upper):
            yield Fault(
                what=f"a chain that does not fit ({_name(upper)} did not sign {_name(lower)})",
                allowed="the authority first, then each one's issuer",
                todo="put them in that order",
            )
        else:
            yield from verifiers.mismatches(lower, upper)
    if not certificates.is_root(chain[-1]):
        yield Fault(
            what=f"a chain without its root ({_name(chain[-1])} was signed by {chain[-1].issuer.rfc4514_string()})",
            allowed="the authority and everything above it up to the root that signed itself",
            todo="append the certificates above it to the file, the root last",
        )


def warnings_of_authority(chain: Sequence[x509.Certificate]) -> Iterator[Fault]:
    """Properties that strict verifiers refuse, in an authority without faults and its issuers."""
    for depth, certificate in enumerate(chain):
        yield from verifiers.strict_only(certificate, _which(certificate, depth), root=certificates.is_root(certificate))


def _which(certificate: x509.Certificate, depth: int) -> str:
    return "" if depth == 0 else f" above it ({_name(certificate)})"


def _own(certificate: x509.Certificate, which: str, below: int, now: dt.datetime) -> Iterator[Fault]:
    """`below`: the number of authorities below this one, which its path length must allow."""
    yield from _validity(certificate, which, now)
    yield from _strength(certificate, which)
    if not certificate.subject.rdns:
        yield _fault(f"an authority without a name{which}", "a subject", "issue it with one")
    if certificate.version is x509.Version.v1:
        allowed = "version 3 with basicConstraints CA:TRUE"
        yield _fault(f"an X.509 version 1 certificate{which}", allowed, "issue it again as version 3")
        return
    constraints = extension_of(certificate, x509.BasicConstraints)
    if constraints is None:
        yield _fault(f"no basicConstraints{which}", "basicConstraints CA:TRUE", "name an authority's certificate")
        return
    if not constraints.ca:
        yield _fault(f"a leaf, not an authority{which}", "basicConstraints CA:TRUE", "name the authority's own certificate")
        return
    if constraints.path_length is not None and constraints.path_length < below:
        yield _fault(
            f"an authority that may not have {below} below it{which}: its pathlen is {constraints.path_length}",
            f"pathlen {below} or more, or none",
            "have the authority signed by one that may",
        )
    usage = extension_of(certificate, x509.KeyUsage)
    if usage is not None and not usage.key_cert_sign:
        yield _fault(f"an authority that may not sign certificates{which}", "keyUsage with keyCertSign", "issue it again with it")
    extended = extension_of(certificate, x509.ExtendedKeyUsage)
    if extended is not None and not set(extended) >= _SERVES:  # OpenSSL does not accept anyExtendedKeyUsage for them
        names = ", ".join(oid._name for oid in extended)
        yield _fault(
            f"an authority for other usages{which} ({names})", "serverAuth and clientAuth, or no extendedKeyUsage", "use another"
        )
    if extension_of(certificate, x509.NameConstraints) is not None:
        yield _fault(
            f"an authority with name constraints{which}",
            "none: Kubernetes' names are outside any company's (kubernetes.default.svc, 127.0.0.1)",
            "use one without",
        )


def of_leaf(certificate: x509.Certificate, wanted: Subject, authority: x509.Certificate, now: dt.datetime) -> Iterator[Fault]:
    """Faults of a certificate that an external CA signed for `wanted`."""
    if not signed_by(certificate, authority):
        yield _fault(
            f"signed by another authority ({certificate.issuer.rfc4514_string()})",
            authority.subject.rfc4514_string(),
            "have the request signed by that one",
        )
    for field in differing(certificate, wanted):
        said = _words(getattr(certificates.subject_of(certificate), field))
        yield _fault(
            f"another {field} than was asked for ({said})",
            _words(getattr(wanted, field)),
            "have it signed with the request's own (openssl x509 -req -copy_extensions copyall)",
        )
    yield from _validity(certificate, "", now)
    yield from _strength(certificate, "")
    constraints = extension_of(certificate, x509.BasicConstraints)
    if constraints is not None and constraints.ca:
        yield _fault("an authority, not a leaf", "basicConstraints CA:FALSE", "have it signed as the request says")
    usage = extension_of(certificate, x509.KeyUsage)
    if usage is not None and not usage.digital_signature:
        yield _fault("a certificate that may not sign handshakes", "keyUsage with digitalSignature", "have it signed with it")


def _words(value: object) -> str:
    return (", ".join(map(str, value)) if isinstance(value, tuple) else str(value)) or "none"


def _validity(certificate: x509.Certificate, which: str, now: dt.datetime) -> Iterator[Fault]:
    if certificate.not_valid_after_utc <= now:
        until = f"{certificate.not_valid_after_utc:%Y-%m-%d %H:%M} UTC"
        yield _fault(f"an expired certificate{which} (valid until {until})", "one that is valid now", "get a new one")
    if certificate.not_valid_before_utc > now + certificates.CLOCK_SKEW:
        since = f"{certificate.not_valid_before_utc:%Y-%m-%d %H:%M} UTC"
        yield _fault(
            f"a certificate that is not valid yet{which} (from {since})", "one that is valid now", "wait, or correct the clock"
        )


def _strength(certificate: x509.Certificate, which: str) -> Iterator[Fault]:
    public = certificate.public_key()
    if isinstance(public, rsa.RSAPublicKey):
        if public.key_size < MIN_RSA:
            yield _fault(f"a weak key{which} (RSA, {public.key_size} bits)", _KINDS, "issue it again with a stronger one")
    elif not isinstance(public, ec.EllipticCurvePublicKey) or public.curve.name not in ("secp256r1", "secp384r1", "secp521r1"):
        yield _fault(f"a key of an unknown kind{which} ({keys.algorithm_of(public)})", _KINDS, "issue it again with one of these")
    yield from verifiers.refusals(certificate, which, root=certificates.is_root(certificate))


def _fault(what: str, allowed: str, todo: str) -> Fault:
    return Fault(what=what, allowed=allowed, todo=todo)


def _name(certificate: x509.Certificate) -> str:
    return certificate.subject.rfc4514_string() or "no name"


def public_sum(held: x509.Certificate | x509.CertificateSigningRequest) -> bytes:
    """The public key, DER: the same in a certificate and its request."""
    return held.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
