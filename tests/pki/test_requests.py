"""Certificates from an external CA: requests, imports, and refusals."""

from __future__ import annotations

import datetime as dt
import subprocess
from collections.abc import Callable
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from cryptography import x509

from kubewright.errors import BadInput, Failed
from pki import certificates, decisions, keys, planned, requests, trust
from pki.certificates import Subject
from pki.decisions import Authority, Decision, Given, Leaf, Policy, Verdict
from pki.store import Store
from tests.pki.brought import CHAIN, MIDDLE, OURS, ROOT, make

NOW = dt.datetime.now(dt.UTC)
CA = Authority(name="ca/etcd", common_name="etcd-ca", given=Given(certificate=CHAIN, key=None))
POLICY = Policy(algorithm="ecdsa-p256", ca_days=3650, leaf_days=365, renew_before_days=90)
SERVER = Leaf(
    name="etcd-server/m1",
    authority=CA.name,
    subject=Subject(
        common_name="kube-etcd", usages=("server", "client"), dns_names=("m1",), addresses=(IPv4Address("192.0.2.11"),)
    ),
)
CLIENT = Leaf(
    name="flannel/m1", authority=CA.name, subject=Subject(common_name="flannel", organizations=("a",), usages=("client",))
)
LEAVES = (SERVER, CLIENT)


def _decide(store: Store, now: dt.datetime = NOW) -> dict[str, Decision]:
    return {d.name: d for d in decisions.decide((CA,), LEAVES, (), store, POLICY, now)}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A store that has the authority without its key, and no leaf."""
    made = Store(tmp_path / "inventory")
    decisions.bring_in((CA,), _decide(made).values(), made)
    return made


def _ask(store: Store, folder: Path, leaves: tuple[Leaf, ...] = LEAVES) -> tuple[Path, ...]:
    return requests.write(folder, requests.prepare(leaves, store, POLICY), leaves)


def _signed(path: Path, leaf: Leaf, *, signer: x509.Certificate = OURS.certificate, days: int = 200, **other: object) -> Path:
    """The certificate for the request at `path`, written beside it; `other`: differences that the signer made."""
    request = x509.load_pem_x509_csr(path.read_bytes())

    class _Holder:
        """With the public key only, like a signer."""

        def public_key(self) -> object:
            return request.public_key()

    subject = replace(leaf.subject, **other)  # type: ignore[arg-type]
    now = NOW - dt.timedelta(days=300) if days < 0 else NOW
    lifetime = dt.timedelta(days=300 + days if days < 0 else days)
    made = certificates.signed(subject, _Holder(), signer, OURS.key, lifetime=lifetime, now=now)  # type: ignore[arg-type]
    answer = path.with_suffix(".crt")
    answer.write_bytes(certificates.to_pem(made))
    return answer


def test_an_authority_without_its_key_is_imported_and_its_leaves_are_requested(tmp_path: Path) -> None:
    found = _decide(Store(tmp_path))
    assert {name: d.verdict for name, d in found.items()} == {
        CA.name: Verdict.IMPORT,
        SERVER.name: Verdict.REQUEST,
        CLIENT.name: Verdict.REQUEST,
    }


def test_applying_is_refused_with_the_command_to_run_and_nothing_is_made(store: Store) -> None:
    before = dict(store.entries)
    with pytest.raises(Failed, match=r"2 certificates .* `kubewright certs requests -o FOLDER`"):
        decisions.carry_out((CA,), LEAVES, (), store, POLICY, NOW)
    assert Store(store.folder).entries == before


def test_a_request_has_everything_in_the_table(store: Store, tmp_path: Path) -> None:
    paths = _ask(store, tmp_path / "out")
    assert [str(p.relative_to(tmp_path / "out")) for p in paths] == ["etcd/etcd-server.m1.csr", "etcd/flannel.m1.csr"]
    for path, leaf in zip(paths, LEAVES, strict=True):
        request = x509.load_pem_x509_csr(path.read_bytes())
        assert request.is_signature_valid
        assert certificates.subject_of(request) == leaf.subject
        assert b"PRIVATE" not in path.read_bytes()


def test_openssl_signs_a_request_with_everything_in_it(store: Store, tmp_path: Path) -> None:
    (tmp_path / "ca.crt").write_bytes(OURS.pem)
    (tmp_path / "ca.key").write_bytes(OURS.key_pem())
    paths = _ask(store, tmp_path / "out")
    for path in paths:
        command = [
            "openssl",
            "x509",
            "-req",
            "-in",
            str(path),
            "-CA",
            "ca.crt",
            "-CAkey",
            "ca.key",
            "-copy_extensions",
            "copyall",
        ]
        subprocess.run(
            [*command, "-days", "200", "-out", str(path.with_suffix(".crt"))], cwd=tmp_path, check=True, capture_output=True
        )
    now = dt.datetime.now(dt.UTC)  # openssl's own notBefore is this moment, NOW may be an hour old
    assert set(requests.take_in([tmp_path / "out"], LEAVES, store, now)) == {SERVER.name, CLIENT.name}
    assert {d.verdict for d in _decide(store, now).values()} == {Verdict.KEEP}


def test_asking_again_gives_the_same_requests(store: Store, tmp_path: Path) -> None:
    first = [p.read_bytes() for p in _ask(store, tmp_path / "one")]
    assert [p.read_bytes() for p in _ask(Store(store.folder), tmp_path / "two")] == first


def test_a_changed_leaf_gets_another_request_and_an_unneeded_request_is_removed(store: Store, tmp_path: Path) -> None:
    _ask(store, tmp_path / "one")
    other = replace(SERVER, subject=replace(SERVER.subject, dns_names=("m2",)))
    (path,) = _ask(store, tmp_path / "two", (other,))
    assert certificates.subject_of(x509.load_pem_x509_csr(path.read_bytes())).dns_names == ("m2",)
    assert [n for n in store.entries if n.startswith(requests.PREFIX)] == ["request/etcd-server/m1"]


def test_a_signed_certificate_is_kept_with_the_key_of_its_request_and_its_chain(store: Store, tmp_path: Path) -> None:
    path = _ask(store, tmp_path)[0]
    key = store.key("request/etcd-server/m1")
    assert requests.take_in([_signed(path, SERVER)], LEAVES, store, NOW) == (SERVER.name,)
    again = Store(store.folder)
    assert again.key(SERVER.name) == key
    chain = x509.load_pem_x509_certificates(again.certificate(SERVER.name))
    assert chain[0].public_key() == keys.from_pem(key).public_key()
    assert chain[1:] == [OURS.certificate, MIDDLE.certificate], "as servers send it: without the root"
    assert "request/etcd-server/m1" not in again.entries
    assert "request/flannel/m1" in again.entries


def test_a_repeated_import_is_no_problem_and_authorities_may_be_in_the_file(store: Store, tmp_path: Path) -> None:
    answer = _signed(_ask(store, tmp_path)[0], SERVER)
    answer.write_bytes(answer.read_bytes() + CHAIN)
    (tmp_path / "etcd" / "root.pem").write_bytes(ROOT.pem)
    assert requests.take_in([tmp_path], LEAVES, store, NOW) == (SERVER.name,)
    assert requests.take_in([tmp_path], LEAVES, store, NOW) == ()


Change = Callable[[Path], Path]


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda p: _signed(p, SERVER, signer=make("Another").certificate), "signed by another authority (CN=Another)"),
        (lambda p: _signed(p, SERVER, dns_names=("m2",)), "another dns_names than was asked for (m2); allowed: m1;"),
        (lambda p: _signed(p, SERVER, addresses=()), "another addresses than was asked for (none); allowed: 192.0.2.11;"),
        (lambda p: _signed(p, SERVER, usages=("server",)), "another usages than was asked for (server); allowed: server, client"),
        (lambda p: _signed(p, SERVER, common_name="x"), "another common_name than was asked for (x); allowed: kube-etcd;"),
        (lambda p: _signed(p, SERVER, organizations=("b",)), "another organizations than was asked for (b); allowed: none"),
        (lambda p: _signed(p, SERVER, days=-1), "an expired certificate"),
        (lambda p: p, "a request, not a certificate"),
        (lambda p: p.with_name("none.crt"), "no such file"),
    ],
    ids=["signer", "dns", "addresses", "usages", "cn", "o", "expired", "request", "missing"],
)
def test_a_certificate_that_does_not_fit_is_reported_and_nothing_is_imported(
    store: Store, tmp_path: Path, answer: Change, words: str
) -> None:
    server, client = _ask(store, tmp_path)
    path = answer(server)
    before = dict(store.entries)
    with pytest.raises(BadInput) as refused:
        requests.take_in([_signed(client, CLIENT), path], LEAVES, store, NOW)
    assert len(refused.value.problems) == 1
    assert str(refused.value).startswith(f"{path}: ")
    assert words in str(refused.value)
    assert Store(store.folder).entries == before


def test_all_faults_are_reported_at_once(store: Store, tmp_path: Path) -> None:
    server, client = _ask(store, tmp_path)
    (tmp_path / "stranger.pem").write_bytes(make("Stranger").pem)
    answers = [_signed(server, SERVER, dns_names=("a",), common_name="b"), _signed(client, CLIENT, days=-1)]
    with pytest.raises(BadInput) as refused:
        requests.take_in([*answers, tmp_path / "stranger.pem"], LEAVES, store, NOW)
    assert len(refused.value.problems) == 4
    assert "a certificate that was not asked for (CN=Stranger)" in str(refused.value)


def test_a_leaf_that_an_external_ca_must_renew_stays_in_use_and_is_requested(store: Store, tmp_path: Path) -> None:
    for path, leaf in zip(_ask(store, tmp_path), LEAVES, strict=True):
        _signed(path, leaf, days=100)
    requests.take_in([tmp_path], LEAVES, store, NOW)
    later = NOW + dt.timedelta(days=20)
    assert {d.verdict for d in _decide(store, later).values()} == {Verdict.KEEP, Verdict.AWAIT}
    assert planned.planned(store.entries, _decide(store, later).values(), (CA,)) == store.entries
    assert decisions.carry_out((CA,), LEAVES, (), store, POLICY, later) == ()
    assert requests.wanted(LEAVES, _decide(store, later).values()) == LEAVES


def test_an_authority_whose_key_is_imported_later_signs_from_then_on(store: Store, tmp_path: Path) -> None:
    (tmp_path / "ca.key").write_bytes(OURS.key_pem())
    online = replace(CA, given=Given(certificate=CHAIN, key=tmp_path / "ca.key"))
    done = decisions.carry_out((online,), LEAVES, (), store, POLICY, NOW)
    assert {d.name: d.verdict for d in done} == {CA.name: Verdict.IMPORT, SERVER.name: Verdict.ISSUE, CLIENT.name: Verdict.ISSUE}
    (tmp_path / "ca.key").unlink()
    assert decisions.carry_out((online,), LEAVES, (), store, POLICY, NOW) == ()


def test_an_intermediates_leaves_carry_the_chain_and_hosts_trust_it_alone(tmp_path: Path) -> None:
    (tmp_path / "ca.key").write_bytes(OURS.key_pem())
    online, store = replace(CA, given=Given(certificate=CHAIN, key=tmp_path / "ca.key")), Store(tmp_path / "inventory")
    decisions.carry_out((online,), LEAVES, (), store, POLICY, NOW)
    assert store.key(CA.name) == OURS.key_pem()
    chain = x509.load_pem_x509_certificates(store.certificate(SERVER.name))
    assert chain[1:] == [OURS.certificate, MIDDLE.certificate]
    assert trust.bundle(store.entries, CA.name) == OURS.pem
    assert trust.anchors(store.entries, CA.name) == CHAIN


def test_a_key_that_is_kept_elsewhere_is_reported_as_such(store: Store) -> None:
    assert store.incomplete == ()
    with pytest.raises(Failed, match="the key of ca/etcd is kept elsewhere"):
        store.key(CA.name)
