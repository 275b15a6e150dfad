"""External CAs in cluster.yaml: those that are accepted, and the problem of every other kind."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.x509.name import _ASN1Type

from kubewright.errors import BAD_INPUT, DONE, BadInput, Problem
from kubewright.spec import loads
from pki import certificates
from pki.store import Store
from tests.pki.brought import CHAIN, CODE_SIGNING, MIDDLE, OURS, ROOT, Ca, ed, make, weak

SPEC = "name: prod\nhosts:\n  - {name: m1, address: 192.0.2.11, roles: [master]}\npki:\n"


def _write(folder: Path, name: str, content: bytes, mode: int = 0o600) -> None:
    (folder / name).write_bytes(content)
    (folder / name).chmod(mode)


def _problems(folder: Path, **settings: str) -> list[str]:
    text = SPEC + "".join(f"  {name}: {value}\n" for name, value in settings.items())
    try:
        loads(text.encode(), folder=folder)
    except BadInput as error:
        return [str(problem).replace(f"{folder}/", "") for problem in error.problems]
    return []


@pytest.fixture
def said(tmp_path: Path) -> Callable[..., list[str]]:
    """The problems of a certificate file and, if it is given, its key."""

    def of(certificate: bytes, key: bytes | None = None) -> list[str]:
        _write(tmp_path, "ca.crt", certificate)
        if key is None:
            return _problems(tmp_path, etcd_ca="ca.crt")
        _write(tmp_path, "ca.key", key)
        return _problems(tmp_path, etcd_ca="ca.crt", etcd_ca_key="ca.key")

    return of


Said = Callable[..., list[str]]


def test_a_root_and_an_intermediate_with_its_chain_are_accepted(said: Said) -> None:
    assert said(ROOT.pem, ROOT.key_pem()) == []
    assert said(CHAIN, OURS.key_pem()) == []
    assert said(CHAIN) == [], "its key may be elsewhere"


def test_an_authority_without_key_usage_is_accepted_with_a_warning_that_says_why(tmp_path: Path) -> None:
    _write(tmp_path, "ca.crt", make("x", usage=False).pem)
    said: list[Problem] = []
    loads(f"{SPEC}  kubernetes_ca: ca.crt\n".encode(), folder=tmp_path, warn=said.append)
    assert [(each.where, each.what.replace(f"{tmp_path}/", ""), each.allowed) for each in said] == [
        ("cluster.yaml:5 pki.kubernetes_ca", "no keyUsage (ca.crt)", "keyUsage with keyCertSign")
    ]
    assert "Python 3.13" in said[0].todo


@pytest.mark.parametrize(
    ("arguments", "code"),
    [(("validate",), DONE), (("plan", "--without", "nobody"), BAD_INPUT), (("apply", "--without", "nobody"), BAD_INPUT)],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_validate_plan_and_apply_print_warnings_on_standard_error(tmp_path: Path, arguments: tuple[str, ...], code: int) -> None:
    """There is no host `nobody`: plan and apply end before any host is asked, and after the warning."""
    _write(tmp_path, "ca.crt", make("x", usage=False).pem)
    (tmp_path / "cluster.yaml").write_text(f"{SPEC}  kubernetes_ca: ca.crt\n")
    command = [sys.executable, "-m", "kubewright", arguments[0], "-i", str(tmp_path), *arguments[1:]]
    ran = subprocess.run(command, check=False, capture_output=True, text=True)
    assert ran.returncode == code
    assert ran.stderr.startswith("warning: cluster.yaml:5 pki.kubernetes_ca: no keyUsage ("), ran.stderr
    if arguments == ("validate",):
        assert ran.stdout.endswith("no problem found, 1 warning\n")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (make("leaf", MIDDLE, ca=False).pem + MIDDLE.pem + ROOT.pem, "a leaf, not an authority"),
        (make("x", sign=False).pem, "an authority that may not sign certificates"),
        (make("x", begins=-10, ends=-1).pem, "an expired certificate"),
        (make("x", begins=1, ends=9).pem, "a certificate that is not valid yet"),
        (make("x", usages=CODE_SIGNING).pem, "an authority for other usages"),
        (make("x", constraints=True).pem, "an authority with name constraints"),
        (make("x", key=weak()).pem, "a weak key (RSA, 1024 bits)"),
        (make("x", key=ed()).pem, "a key of an unknown kind"),
        (make("").pem, "an authority without a name"),
        (OURS.pem, "a chain without its root (CN=prod Kubernetes was signed by CN=Company Issuing)"),
        (OURS.pem + ROOT.pem, "a chain that does not fit (CN=Company Root did not sign CN=prod Kubernetes)"),
        (OURS.certificate.public_bytes(serialization.Encoding.DER), "not a certificate in PEM"),
        (OURS.key_pem(), "a private key, not a certificate"),
        (b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "a certificate that can't be read"),
        (b"", "not a certificate in PEM"),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else "",
)
def test_an_unusable_authority_is_reported_with_file_and_line(said: Said, content: bytes, words: str) -> None:
    problems = said(content)
    assert len(problems) == 1, problems
    assert problems[0].startswith("cluster.yaml:5 pki.etcd_ca: ")
    assert words in problems[0]
    assert "(ca.crt)" in problems[0]


def test_a_weak_signature_is_reported_unless_it_is_the_roots_own(said: Said, tmp_path: Path) -> None:
    command = [
        "openssl",
        "x509",
        "-sha1",
        "-CA",
        "root.crt",
        "-CAkey",
        "root.key",
        "-days",
        "9",
        "-in",
        "x.crt",
        "-out",
        "sha1.crt",
    ]
    for name, content in (("root.crt", ROOT.pem), ("root.key", ROOT.key_pem()), ("x.crt", make("x").pem)):
        _write(tmp_path, name, content)
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    problems = said((tmp_path / "sha1.crt").read_bytes() + ROOT.pem)
    assert "a weak signature (sha1)" in problems[0]


def test_a_path_length_that_forbids_an_authority_below_is_reported_with_both_names(said: Said) -> None:
    middle = make("Company Issuing", ROOT, pathlen=0)
    problems = said(make("prod", middle).pem + middle.pem + ROOT.pem)
    assert problems == [
        "cluster.yaml:5 pki.etcd_ca: an authority that may not have 1 below it above it (CN=Company Issuing): "
        "its pathlen is 0 (ca.crt); allowed: pathlen 1 or more, or none; have the authority signed by one that may"
    ]


@pytest.mark.parametrize(
    ("key", "words"),
    [
        (ROOT.key_pem(), "not the key of that certificate"),
        (OURS.key_pem(b"password"), "an encrypted key"),
        (OURS.pem, "not a private key in PEM"),
        (b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "a key that can't be read, or of another kind"),
        (make("x", key=ed()).key_pem(), "a key that can't be read, or of another kind"),
    ],
    ids=["another", "encrypted", "certificate", "broken", "ed25519"],
)
def test_a_file_that_is_not_its_key_is_reported(said: Said, key: bytes, words: str) -> None:
    problems = said(CHAIN, key)
    assert len(problems) == 1, problems
    assert problems[0].startswith(f"cluster.yaml:6 pki.etcd_ca_key: {words} (ca.key)")


def test_a_key_that_others_can_read_is_reported(tmp_path: Path) -> None:
    _write(tmp_path, "ca.crt", CHAIN)
    _write(tmp_path, "ca.key", OURS.key_pem(), 0o644)
    assert "a key that others can read (mode 0044)" in _problems(tmp_path, etcd_ca="ca.crt", etcd_ca_key="ca.key")[0]


def test_all_problems_are_reported_at_once(tmp_path: Path) -> None:
    _write(tmp_path, "a.crt", make("x", ends=-1, begins=-9, sign=False).pem)
    found = _problems(tmp_path, kubernetes_ca="none.crt", etcd_ca="a.crt", etcd_ca_key="none.key", front_proxy_ca_key="alone.key")
    assert [p.split(":")[1].split(" ")[1] for p in found] == [
        "pki.kubernetes_ca", "pki.etcd_ca", "pki.etcd_ca", "pki.etcd_ca_key", "pki.front_proxy_ca_key",
    ]  # fmt: skip


def test_one_authority_for_two_is_refused_and_so_is_one_above_another(tmp_path: Path) -> None:
    _write(tmp_path, "ours.crt", CHAIN)
    _write(tmp_path, "root.crt", ROOT.pem)
    for one, two in (("ours.crt", "ours.crt"), ("ours.crt", "root.crt"), ("root.crt", "ours.crt")):
        problems = _problems(tmp_path, kubernetes_ca=one, etcd_ca=two)
        assert len(problems) == 1
        assert "the same authority as kubernetes_ca, or one above or below it" in problems[0]


def _stored(folder: Path, ca: Ca, key: bytes) -> None:
    Store(folder).add({"ca/etcd": (certificates.to_pem(ca.certificate), key)})


def test_the_file_of_a_key_in_the_store_may_be_missing(tmp_path: Path) -> None:
    _write(tmp_path, "ca.crt", CHAIN)
    _stored(tmp_path, OURS, OURS.key_pem())
    assert _problems(tmp_path, etcd_ca="ca.crt", etcd_ca_key="gone.key") == []


def test_another_authority_than_the_stores_is_refused(tmp_path: Path) -> None:
    _write(tmp_path, "ca.crt", CHAIN)
    _stored(tmp_path, ROOT, ROOT.key_pem())
    problems = _problems(tmp_path, etcd_ca="ca.crt")
    assert len(problems) == 1
    assert "another authority than the cluster has (CN=prod Kubernetes)" in problems[0]
    assert "kubewright certs rotate-ca etcd" in problems[0]


def test_a_missing_authority_is_reported_with_all_other_problems(tmp_path: Path) -> None:
    with pytest.raises(BadInput) as caught:
        loads((SPEC.replace("name: prod", "name: Prod!", 1) + "  etcd_ca: nope.crt\n").encode(), folder=tmp_path)
    assert [str(problem).split("; ")[0].split(": ")[0] for problem in caught.value.problems] == [
        "cluster.yaml:1 name",
        "cluster.yaml:5 pki.etcd_ca",
    ]


def test_a_missing_authority_is_reported_even_if_no_host_is_left_to_check(tmp_path: Path) -> None:
    with pytest.raises(BadInput) as caught:
        loads(b"name: prod\nhosts: [{name: a}]\npki: {etcd_ca: nope.crt}\n", folder=tmp_path)
    assert [str(problem).split(": ")[0] for problem in caught.value.problems] == [
        "cluster.yaml:2 hosts[0].address",
        "cluster.yaml:2 hosts[0].roles",
        "cluster.yaml:3 pki.etcd_ca",
    ]


def test_an_identifier_of_another_issuer_is_reported(said: Said) -> None:
    """As if the root was issued again with the same name and key, and another identifier."""
    renewed = make("Company Root", key=ROOT.key, identifier=b"another")
    assert (
        "an authorityKeyIdentifier that names another certificate than CN=Company Root"
        in said(make("x", ROOT).pem + renewed.pem)[0]
    )


def test_an_issuers_name_in_another_encoding_does_not_fit(said: Said) -> None:
    """Go compares the bytes of names."""
    renewed = make("Company Root", key=ROOT.key, encoding=_ASN1Type.PrintableString)
    assert "a chain that does not fit" in said(make("x", ROOT).pem + renewed.pem)[0]
