"""Every certificate is parsed and checked; cryptography's own verifier and openssl verify the chains."""

from __future__ import annotations

import datetime as dt
import shutil
import subprocess
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509 import verification
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID

from pki import certificates, keys
from tests.pki.conftest import CLIENT, NOW, PEER, SERVER, Issuer, issuer

NAME = x509.DNSName("kubernetes.default.svc")
needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not on this machine")


def _builder(authority: x509.Certificate, at: dt.datetime = NOW) -> verification.PolicyBuilder:
    return verification.PolicyBuilder().store(verification.Store([authority])).time(at)


def _verify_server(leaf: x509.Certificate, authority: x509.Certificate, name: x509.GeneralName = NAME) -> None:
    assert isinstance(name, x509.DNSName | x509.IPAddress)
    _builder(authority).build_server_verifier(name).verify(leaf, [])


def _openssl(folder: Path, leaf: x509.Certificate, authority: x509.Certificate, purpose: str) -> str:
    for name, certificate in (("leaf", leaf), ("ca", authority)):
        (folder / name).write_bytes(certificates.to_pem(certificate))
    command = ["openssl", "verify", "-x509_strict", "-purpose", purpose, "-CAfile", str(folder / "ca"), str(folder / "leaf")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return "verifies" if done.returncode == 0 else done.stderr


def test_an_authority_may_sign_leaves_and_its_successor(authority: Issuer) -> None:
    extensions = authority.certificate.extensions
    constraints = extensions.get_extension_for_class(x509.BasicConstraints)
    assert constraints.critical
    assert (constraints.value.ca, constraints.value.path_length) == (True, 1)
    usage = extensions.get_extension_for_class(x509.KeyUsage)
    assert usage.critical
    assert usage.value.key_cert_sign and usage.value.crl_sign
    public = authority.key.public_key()
    assert extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value == x509.SubjectKeyIdentifier.from_public_key(
        public
    )
    assert authority.certificate.subject == authority.certificate.issuer
    authority.certificate.verify_directly_issued_by(authority.certificate)


@pytest.mark.parametrize("subject", [SERVER, CLIENT, PEER], ids=lambda s: s.common_name)
def test_a_leaf_has_the_names_and_usages_of_its_subject(authority: Issuer, subject: certificates.Subject) -> None:
    leaf, key = authority.issue(subject)
    assert certificates.subject_of(leaf) == subject
    assert leaf.issuer == authority.certificate.subject
    assert leaf.public_key() == key.public_key()
    assert leaf.version is x509.Version.v3


def test_a_leaf_signs_nothing_and_names_its_authority(authority: Issuer) -> None:
    leaf, _ = authority.issue(SERVER)
    constraints = leaf.extensions.get_extension_for_class(x509.BasicConstraints)
    assert constraints.critical
    assert (constraints.value.ca, constraints.value.path_length) == (False, None)
    usage = leaf.extensions.get_extension_for_class(x509.KeyUsage).value
    assert usage.digital_signature
    assert not (usage.key_cert_sign or usage.crl_sign or usage.key_encipherment or usage.data_encipherment)
    identifier = leaf.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    own = authority.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    assert identifier.key_identifier == own.digest


def test_usages_are_exactly_the_requested_ones(authority: Issuer) -> None:
    expected = {
        SERVER: [ExtendedKeyUsageOID.SERVER_AUTH],
        CLIENT: [ExtendedKeyUsageOID.CLIENT_AUTH],
        PEER: [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH],
    }
    for subject, usages in expected.items():
        leaf, _ = authority.issue(subject)
        assert list(leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == usages


def test_names_are_left_out_where_there_are_none() -> None:
    leaf, _ = issuer("ecdsa-p256").issue(CLIENT)
    with pytest.raises(x509.ExtensionNotFound):
        leaf.extensions.get_extension_for_oid(ExtensionOID.SUBJECT_ALTERNATIVE_NAME)


def test_a_leaf_is_valid_for_the_requested_days_and_from_a_little_earlier() -> None:
    leaf, _ = issuer("ecdsa-p256").issue(SERVER, days=365)
    assert leaf.not_valid_after_utc == NOW + dt.timedelta(days=365)
    assert leaf.not_valid_before_utc == NOW - certificates.CLOCK_SKEW


def test_a_leaf_never_outlives_its_authority() -> None:
    short = issuer("ecdsa-p256", "short-ca", 30)
    leaf, _ = short.issue(SERVER, days=365)
    assert leaf.not_valid_after_utc == short.certificate.not_valid_after_utc == NOW + dt.timedelta(days=30)


def test_every_serial_number_is_its_own() -> None:
    authority = issuer("ecdsa-p256")
    assert len({authority.issue(CLIENT)[0].serial_number for _ in range(5)} | {authority.certificate.serial_number}) == 6


def test_a_server_verifies_by_each_of_its_names(authority: Issuer) -> None:
    leaf, _ = authority.issue(SERVER)
    for name in ("m1", "kubernetes.default.svc"):
        _verify_server(leaf, authority.certificate, x509.DNSName(name))
    for address in SERVER.addresses:
        _verify_server(leaf, authority.certificate, x509.IPAddress(address))


def test_a_server_does_not_verify_by_another_name() -> None:
    authority = issuer("ecdsa-p256")
    leaf, _ = authority.issue(SERVER)
    for name in (x509.DNSName("m2"), x509.IPAddress(IPv4Address("192.0.2.12"))):
        with pytest.raises(verification.VerificationError):
            _verify_server(leaf, authority.certificate, name)


def test_a_leaf_of_another_authority_of_the_same_name_does_not_verify(tmp_path: Path) -> None:
    key = keys.generate("ecdsa-p256")
    impostor = Issuer(
        algorithm="ecdsa-p256",
        key=key,
        certificate=certificates.self_signed("kubernetes-ca", key, days=10, now=NOW),
    )
    leaf, _ = impostor.issue(SERVER)
    with pytest.raises(verification.VerificationError):
        _verify_server(leaf, issuer("ecdsa-p256").certificate)


def test_a_client_certificate_is_refused_as_a_server() -> None:
    authority = issuer("ecdsa-p256")
    subject = certificates.Subject(common_name="x", usages=("client",), dns_names=("kubernetes.default.svc",))
    with pytest.raises(verification.VerificationError):
        _verify_server(authority.issue(subject)[0], authority.certificate)


def test_a_certificate_is_refused_after_its_end_and_before_its_beginning() -> None:
    authority = issuer("ecdsa-p256")
    leaf, _ = authority.issue(SERVER, days=1)
    for at in (NOW + dt.timedelta(days=2), NOW - dt.timedelta(hours=1)):
        with pytest.raises(verification.VerificationError):
            _builder(authority.certificate, at).build_server_verifier(NAME).verify(leaf, [])


@needs_openssl
def test_openssl_accepts_each_certificate_for_its_own_purpose_only(authority: Issuer, tmp_path: Path) -> None:
    expected = {SERVER: (True, False), CLIENT: (False, True), PEER: (True, True)}
    for subject, answers in expected.items():
        leaf, _ = authority.issue(subject)
        said = [_openssl(tmp_path, leaf, authority.certificate, purpose) for purpose in ("sslserver", "sslclient")]
        assert tuple(answer == "verifies" for answer in said) == answers, said


@needs_openssl
def test_openssl_refuses_a_leaf_that_a_leaf_signed(tmp_path: Path) -> None:
    authority = issuer("ecdsa-p256")
    middle, middle_key = authority.issue(PEER)
    forged = (
        x509.CertificateBuilder()
        .subject_name(authority.certificate.subject)
        .issuer_name(middle.subject)
        .public_key(middle_key.public_key())
        .serial_number(1)
        .not_valid_before(NOW)
        .not_valid_after(NOW + dt.timedelta(days=1))
        .sign(middle_key, hashes.SHA256())
    )
    assert _openssl(tmp_path, forged, authority.certificate, "sslclient") != "verifies"


def test_a_key_has_the_requested_algorithm() -> None:
    assert isinstance(issuer("ecdsa-p256").key, ec.EllipticCurvePrivateKey)
    for size in (2048, 4096):
        key = issuer(f"rsa-{size}").key
        assert isinstance(key, rsa.RSAPrivateKey)
        assert key.key_size == size


def test_a_key_is_pkcs8_and_comes_back_from_its_pem(authority: Issuer) -> None:
    pem = keys.to_pem(authority.key)
    assert pem.startswith(b"-----BEGIN PRIVATE KEY-----")
    assert keys.from_pem(pem).public_key() == authority.key.public_key()
    assert keys.public_pem(authority.key).startswith(b"-----BEGIN PUBLIC KEY-----")


def test_an_unknown_algorithm_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match="ed25519: a key is one of ecdsa-p256, rsa-2048, rsa-4096"):
        keys.generate("ed25519")
