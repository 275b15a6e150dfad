"""The matrix passes for servers as strict as etcd's, and fails for each kind of lax server."""

from __future__ import annotations

import datetime as dt
import json
import socket
import ssl
from collections import Counter
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from deploy.waves import ROLES
from kubewright.model.cluster import ETCD_PEER_PORT
from kubewright.tls.attempts import Attempt, Kind, accepted, refused, rights
from kubewright.tls.grpc import Called
from kubewright.tls.identities import Identities
from kubewright.tls.matrix import carry_out, judge
from kubewright.tls.probe import Answer
from pki import certificates
from pki.authorities import ETCD, KUBERNETES
from pki.certificates import Subject
from pki.identities import Identity, signer, stored
from pki.store import PRIVATE, Store
from roles.etcd.role import ROLE as ETCD_ROLE
from tests.support.scenarios import filled_store, scenario
from tests.support.servers import Redirected, authority, everybody, server_context, serving

PLAN = scenario("lab").plan
HOSTS = [node.name for node in PLAN.nodes]
Judged = Counter[Kind]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return filled_store(PLAN, tmp_path_factory.mktemp("store"), dt.datetime.now(dt.UTC))


def _peers(connection: ssl.SSLSocket, _request: bytes) -> bytes:
    """Peers only; a client with another name is disconnected."""
    shown = connection.getpeercert(binary_form=True)
    name = certificates.subject_of(x509.load_der_x509_certificate(shown)).common_name if shown else ""
    return everybody(connection, b"") if name == "kube-etcd-peer" else b""


def _failures(store: Store, tls: ssl.SSLContext, respond: Any = _peers, *, plain: bool = False) -> tuple[Judged, Judged]:
    """The failed and the passed attempts when m1's peer port is this server."""
    identities = Identities(store)
    attempts = [a for make in (accepted, refused) for a in make(PLAN, (ETCD_ROLE,), identities)]
    to_m1 = [a for a in attempts if a.endpoint.port == ETCD_PEER_PORT and a.endpoint.host == "m1"]
    with serving(tls, respond, plain=plain) as server:
        tried = carry_out({name: Redirected(server.port) for name in HOSTS}, to_m1)
    assert [t.attempt for t in tried] == to_m1
    return Counter(t.attempt.kind for t in tried if not t.holds), Counter(t.attempt.kind for t in tried if t.holds)


def _careful(store: Store, **lax: Any) -> ssl.SSLContext:
    identity = lax.pop("identity", None) or stored(store, "etcd-peer/m1")
    settings: dict[str, Any] = {"clients": store.certificate(ETCD.name), "required": True} | lax
    return server_context(identity, **settings)


def test_everything_passes_for_a_strict_server(store: Store) -> None:
    failed, held = _failures(store, _careful(store))
    assert failed == {}
    assert held == {
        Kind.ACCEPTED: 2,
        Kind.NOTHING: 2,
        Kind.AUTHORITY: 6,
        Kind.EXPIRED: 2,
        Kind.NAME: 2,
        Kind.PLAIN: 1,
        Kind.OLD: 1,
        Kind.CIPHER: 1,
        Kind.SERVER: 4,
    }


def test_a_server_that_accepts_any_client_fails(store: Store) -> None:
    failed, _ = _failures(store, _careful(store, clients=None), everybody)
    assert failed == {Kind.NOTHING: 2, Kind.AUTHORITY: 6, Kind.EXPIRED: 2, Kind.NAME: 2}


def test_a_server_that_accepts_clients_without_a_certificate_fails(store: Store) -> None:
    failed, _ = _failures(store, _careful(store, required=False), everybody)
    assert failed == {Kind.NOTHING: 2, Kind.NAME: 2}


def test_a_server_that_accepts_any_name_of_the_authority_fails(store: Store) -> None:
    failed, _ = _failures(store, _careful(store), everybody)
    assert failed == {Kind.NAME: 2}


def test_a_server_that_trusts_another_authority_too_fails(store: Store) -> None:
    both = store.certificate(ETCD.name) + store.certificate(KUBERNETES.name)
    failed, held = _failures(store, _careful(store, clients=both))
    assert failed == {Kind.AUTHORITY: 2}
    assert held[Kind.AUTHORITY] == 4


def test_a_server_that_speaks_old_tls_fails(store: Store) -> None:
    failed, _ = _failures(store, _careful(store, lowest=ssl.TLSVersion.TLSv1, ciphers="ALL:@SECLEVEL=0"))
    assert failed == {Kind.OLD: 1, Kind.CIPHER: 1}


def test_a_server_with_weak_ciphers_fails(store: Store) -> None:
    failed, _ = _failures(store, _careful(store, ciphers="ECDHE+AESGCM:ECDHE-ECDSA-AES128-SHA:@SECLEVEL=0"))
    assert failed == {Kind.CIPHER: 1}


def test_a_server_that_answers_plain_http_fails(store: Store) -> None:
    failed, _ = _failures(store, _careful(store), plain=True)
    assert failed == {Kind.PLAIN: 1}


def _server(store: Store, *, impostor: bool = False, **names: Any) -> Identity:
    said: dict[str, Any] = {"dns_names": ("m1",), "addresses": (IPv4Address("10.90.0.11"),)} | names
    subject = Subject(common_name="kube-etcd-peer", usages=("server", "client"), **said)
    made_by = authority(ETCD.common_name) if impostor else signer(store, ETCD.name)
    return made_by.identity(subject, algorithm="ecdsa-p256")


def test_a_self_made_impostor_of_a_server_is_accepted_by_no_client(store: Store) -> None:
    failed, held = _failures(store, _careful(store, identity=_server(store, impostor=True)))
    assert failed[Kind.ACCEPTED] == 2
    assert held[Kind.SERVER] == 4


def test_a_server_whose_certificate_does_not_name_it_is_accepted_by_no_client(store: Store) -> None:
    failed, _ = _failures(store, _careful(store, identity=_server(store, addresses=(IPv4Address("10.90.0.12"),))))
    assert failed[Kind.ACCEPTED] == 2


def test_a_certificate_with_a_wrong_name_fails(store: Store) -> None:
    failed, _ = _failures(store, _careful(store, identity=_server(store, dns_names=("elsewhere.invalid",))))
    assert failed == {Kind.SERVER: 1}


def test_an_expired_server_is_accepted_by_no_client(store: Store) -> None:
    subject = certificates.subject_of(certificates.from_pem(_server(store).certificate))
    expired = signer(store, ETCD.name).identity(subject, algorithm="ecdsa-p256", expired=True)
    failed, _ = _failures(store, _careful(store, identity=expired))
    assert failed[Kind.ACCEPTED] == 2


def test_a_missing_server_never_counts_as_a_refusal(attempts: list[Attempt]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        closed = listener.getsockname()[1]
    tried = carry_out({name: Redirected(closed) for name in HOSTS}, attempts)
    assert len(tried) == len(attempts)
    assert not [t for t in tried if t.holds]


@pytest.fixture(scope="module")
def attempts(store: Store) -> list[Attempt]:
    """All attempts on the lab's five hosts."""
    identities = Identities(store)
    return [a for make in (accepted, refused, rights) for a in make(PLAN, ROLES, identities)]


def test_every_port_is_tried_in_every_way(attempts: list[Attempt]) -> None:
    tried: dict[tuple[str, int], set[Kind]] = {}
    for attempt in attempts:
        tried.setdefault((attempt.endpoint.role, attempt.endpoint.port), set()).add(attempt.kind)
    everything = set(Kind) - {Kind.RIGHTS}
    assert {key: everything - kinds for key, kinds in tried.items() if everything - kinds} == {
        # Any name of its authority passes the handshake; calls test its rights.
        ("etcd", 2379): {Kind.NAME},
    }
    assert Kind.RIGHTS in tried["etcd", 2379]


def _without_keys(store: Store, folder: Path, *keep: str) -> Store:
    (folder / "certificates.json").write_bytes((store.folder / "certificates.json").read_bytes())
    fewer = Store(folder)
    (folder / PRIVATE).parent.mkdir(parents=True)
    kept = {fewer.entries[name].key_sha256: store.key(name).decode() for name in keep}
    (folder / PRIVATE).write_text(json.dumps(kept))
    return fewer


def test_without_the_stores_keys_the_left_out_attempts_are_named(store: Store, tmp_path: Path) -> None:
    identities = Identities(_without_keys(store, tmp_path))
    attempts = [a for make in (accepted, refused, rights) for a in make(PLAN, ROLES, identities)]
    assert {a.kind for a in attempts} == {*Kind} - {Kind.EXPIRED, Kind.NAME, Kind.RIGHTS}
    # An untrusted authority can be made without them.
    assert {a.who.partition(":")[0] for a in attempts if a.kind is Kind.AUTHORITY} == {"foreign"}
    assert "made-up certificates of ca/etcd" in identities.left_out
    assert "connections as flannel/w1" in identities.left_out


def test_with_some_keys_the_rest_is_still_tried(store: Store, tmp_path: Path) -> None:
    identities = Identities(_without_keys(store, tmp_path, "flannel/w1"))
    found = [a for a in accepted(PLAN, ROLES, identities) if a.who == "flannel/w1"]
    assert len(found) == 3
    assert "connections as flannel/w1" not in identities.left_out
    assert "connections as flannel/w2" in identities.left_out


def _one(attempts: list[Attempt], kind: Kind, role: str) -> Attempt:
    return next(a for a in attempts if a.kind is kind and a.endpoint.role == role)


OK, ANONYMOUS, FORBIDDEN, ENDED = Answer(status=200), Answer(status=401), Answer(status=403), Answer(broken="EOF in TLS")
NOBODY_THERE, SILENT = Answer(broken="ConnectionRefusedError: x"), Answer(broken="TimeoutError: timed out")


@pytest.mark.parametrize(
    ("kind", "role", "good", "bad"),
    [
        (Kind.ACCEPTED, "apiserver", [OK], [FORBIDDEN, Answer(alert="X_ALERT"), ENDED]),
        (Kind.NOTHING, "kubelet", [ANONYMOUS, FORBIDDEN], [OK, Answer(status=404), ENDED]),
        (Kind.EXPIRED, "apiserver", [ANONYMOUS], [Answer(status=500), Answer(alert="SSLV3_ALERT_CERTIFICATE_EXPIRED")]),
        (Kind.AUTHORITY, "etcd", [Answer(alert="TLSV1_ALERT_UNKNOWN_CA"), ENDED], [OK, FORBIDDEN, SILENT]),
        (Kind.NAME, "scheduler", [FORBIDDEN], [OK, ANONYMOUS]),
        (Kind.PLAIN, "apiserver", [Answer(status=400), ENDED], [OK, ANONYMOUS, NOBODY_THERE]),
        (Kind.OLD, "kubelet", [Answer(alert="TLSV1_ALERT_PROTOCOL_VERSION")], [OK, Answer(broken="NO_PROTOCOLS_AVAILABLE")]),
        (Kind.CIPHER, "kubelet", [Answer(alert="SSLV3_ALERT_HANDSHAKE_FAILURE")], [OK, Answer(broken="NO_CIPHERS_AVAILABLE")]),
        (Kind.SERVER, "kubelet", [Answer(broken="its certificate does not verify: x")], [OK, ANONYMOUS, ENDED]),
    ],
)
def test_an_answer_is_judged_as_the_design_says(
    attempts: list[Attempt], kind: Kind, role: str, good: list[Answer], bad: list[Answer]
) -> None:
    attempt = _one(attempts, kind, role)
    assert [judge(attempt, answer) for answer in good] == [""] * len(good)
    assert all(judge(attempt, answer).startswith("expected ") for answer in bad)


def test_wrongly_served_content_is_not_shown(attempts: list[Attempt]) -> None:
    attempt = _one(attempts, Kind.NOTHING, "apiserver")
    assert judge(attempt, Answer(status=200, body=b"c2VjcmV0")) == "expected 401 or 403, got: 200 with 8 bytes"
    assert judge(attempt, Answer(status=500, body=b"one\n two")) == "expected 401 or 403, got: 500 one two"


def test_a_certificates_rights_in_etcd_are_judged_by_etcds_status(attempts: list[Attempt]) -> None:
    calls = [a for a in attempts if a.kind is Kind.RIGHTS]
    allowed: dict[str, set[str]] = {}
    for attempt in calls:
        assert attempt.call
        if attempt.call.allowed:
            allowed.setdefault(attempt.who.partition("/")[0], set()).add(attempt.call.title)
        answers = {code: judge(attempt, Called(code=code)) == "" for code in (0, 7, 9, 14, -1)}
        assert answers == {
            0: attempt.call.allowed,
            7: not attempt.call.allowed,
            9: not attempt.call.allowed,
            14: False,
            -1: False,
        }
    assert allowed["flannel"] == {"read /coreos.com/network/config", "delete under /coreos.com/network/"}
    assert len(allowed["etcd-root"]) == len(allowed["apiserver-etcd-client"]) == 8
    assert set(allowed) == {"etcd-root", "apiserver-etcd-client", "flannel"}
    assert {a.who for a in calls if a.who.startswith("flannel/")} == {f"flannel/{name}" for name in HOSTS}


def test_coredns_reads_the_names_in_etcd_and_neither_writes_them_nor_reads_anything_else(tmp_path: Path) -> None:
    plan = scenario("skydns").plan
    calls = list(rights(plan, ROLES, Identities(filled_store(plan, tmp_path, dt.datetime.now(dt.UTC)))))
    mine = {a.call.title: a.call.allowed for a in calls if a.call and a.who.startswith("coredns")}
    assert {title for title, allowed in mine.items() if allowed} == {"read /skydns/kubewright-verify-nothing"}
    assert len(mine) == 10
    flannel = {a.call.title for a in calls if a.call and a.call.allowed and a.who.startswith("flannel")}
    assert not [title for title in flannel if "skydns" in title]
