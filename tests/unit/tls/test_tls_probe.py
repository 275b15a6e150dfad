"""The result of a request over TLS: an answer, a refusal by one side, or a broken connection."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
from collections.abc import Iterator
from typing import Any

import paramiko
import pytest

from kubewright.errors import Failed
from kubewright.hosts.remote import Remote
from kubewright.tls.probe import Answer, ask, served
from kubewright.tls.stream import Terms, load
from pki import keys
from pki.identities import Signer, renamed
from tests.support.servers import (
    CLIENT,
    LOOPBACK,
    SERVER,
    Here,
    Server,
    authority,
    pem,
    server_context,
    serving,
    shown,
    the_known,
)

OURS, OTHERS = authority(), authority("etcd-ca")
IDENTITY = OURS.identity(SERVER, algorithm="ecdsa-p256")
OLD, NEW = ssl.TLSVersion.TLSv1_1, ssl.TLSVersion.TLSv1_3


def _client(signer: Signer = OURS, *, expired: bool = False) -> Any:
    return signer.identity(CLIENT, algorithm="ecdsa-p256", expired=expired)


def _ask(server: Server, terms: Terms | None, path: str = "/") -> Answer:
    return ask(Here(), LOOPBACK, server.port, path, terms=terms)


@pytest.fixture
def judges_requests() -> Iterator[Server]:
    """As an apiserver: it asks for a certificate, and answers 401 and 403."""
    with serving(server_context(IDENTITY, pem(OURS)), the_known) as server:
        yield server


@pytest.fixture(params=[ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=lambda version: version.name)
def judges_handshakes(request: pytest.FixtureRequest) -> Iterator[Server]:
    """As etcd: no certificate, no handshake."""
    with serving(server_context(IDENTITY, pem(OURS), required=True, highest=request.param)) as server:
        yield server


def test_the_right_certificate_is_served(judges_requests: Server, judges_handshakes: Server) -> None:
    for server in (judges_requests, judges_handshakes):
        answer = _ask(server, Terms(trust=pem(OURS), identity=_client()), "/version?x=1")
        assert (answer.status, answer.text) == (200, "ok")
        assert server.requests[0].startswith(b"GET /version?x=1 HTTP/1.1\r\nHost: 127.0.0.1:")


def test_an_rsa_key_serves_as_well(judges_requests: Server) -> None:
    assert _ask(judges_requests, Terms(trust=pem(OURS), identity=OURS.identity(CLIENT, algorithm="rsa-2048"))).status == 200


def test_no_certificate_and_another_name_are_refused_with_a_status(judges_requests: Server) -> None:
    nobody = OURS.identity(renamed(CLIENT, "nobody"), algorithm="ecdsa-p256")
    assert _ask(judges_requests, Terms(trust=pem(OURS))).status == 401
    assert _ask(judges_requests, Terms(trust=pem(OURS), identity=nobody)).status == 403


def test_no_foreign_and_expired_certificates_end_the_handshake(judges_handshakes: Server) -> None:
    for identity in (None, _client(OTHERS), _client(expired=True)):
        answer = _ask(judges_handshakes, Terms(trust=pem(OURS), identity=identity))
        assert answer.ended_by_the_server, answer
        assert not answer.does_not_verify
    assert judges_handshakes.requests == []


def test_an_old_version_of_tls_is_refused_by_the_server_not_by_our_own_library(judges_requests: Server) -> None:
    terms = Terms(trust=pem(OURS), lowest=ssl.TLSVersion.TLSv1, highest=OLD)
    assert _ask(judges_requests, terms).alert == "TLSV1_ALERT_PROTOCOL_VERSION"
    lax = server_context(IDENTITY, lowest=ssl.TLSVersion.TLSv1, ciphers="ALL:@SECLEVEL=0")
    with serving(lax) as server:
        assert _ask(server, terms).status == 200


def test_a_weak_cipher_is_refused_by_the_server_not_by_our_own_library(judges_requests: Server) -> None:
    weak = "ECDHE-ECDSA-AES128-SHA:AES128-SHA:@SECLEVEL=0"
    terms = Terms(trust=pem(OURS), highest=ssl.TLSVersion.TLSv1_2, ciphers=weak)
    assert _ask(judges_requests, terms).alert == "SSLV3_ALERT_HANDSHAKE_FAILURE"
    with serving(server_context(IDENTITY, ciphers=weak)) as server:
        assert _ask(server, terms).status == 200


def test_a_server_by_another_name_or_of_another_authority_is_refused_by_us(judges_requests: Server) -> None:
    for terms in (Terms(trust=pem(OURS), server_name="elsewhere"), Terms(trust=pem(OTHERS)), Terms(trust=pem(authority()))):
        answer = _ask(judges_requests, terms)
        assert answer.does_not_verify, answer
        assert not answer.ended_by_the_server
    assert _ask(judges_requests, Terms(trust=pem(OURS), server_name="localhost", identity=_client())).status == 200
    assert _ask(judges_requests, Terms(trust=shown((OTHERS, OURS)), identity=_client())).status == 200


def test_plain_http_to_a_tls_server_is_not_answered(judges_requests: Server) -> None:
    assert _ask(judges_requests, None).status == 0
    assert judges_requests.requests == []


def test_a_server_that_disconnects_and_a_missing_one_are_distinguished() -> None:
    with serving(None) as server:
        assert _ask(server, Terms(trust=pem(OURS))).ended_by_the_server
    gone = _ask(server, Terms(trust=pem(OURS)))
    assert gone.broken.startswith("ConnectionRefusedError")
    assert not gone.ended_by_the_server


def test_a_listeners_certificate_is_seen_without_a_client_certificate() -> None:
    with serving(server_context(IDENTITY, pem(OURS), required=True)) as server:
        found = served(Here(), LOOPBACK, server.port)
    sent = [ssl.DER_cert_to_PEM_cert(certificate).encode() for certificate in found.chain]
    assert sent == [IDENTITY.certificate, pem(OURS)]
    assert (ssl.DER_cert_to_PEM_cert(found.leaf).encode(), found.broken) == (IDENTITY.certificate, "")
    assert served(Here(), LOOPBACK, server.port).broken.startswith("ConnectionRefusedError")


def _open_files() -> set[str]:
    found = set()
    for number in os.listdir("/proc/self/fd"):  # noqa: PTH208 - names only
        with contextlib.suppress(OSError):
            found.add(os.readlink(f"/proc/self/fd/{number}"))  # noqa: PTH115 - it may be closed meanwhile
    return found


def test_a_key_is_in_no_file_and_no_descriptor_of_it_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    pipes: list[str] = []

    def pipe() -> tuple[int, int]:
        reader, writer = original()
        pipes.append(os.readlink(f"/proc/self/fd/{reader}"))  # noqa: PTH115
        return reader, writer

    original = os.pipe
    monkeypatch.setattr("kubewright.tls.stream.os.pipe", pipe)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    load(tls, _client())
    assert [name.partition(":")[0] for name in pipes] == ["pipe", "pipe"]
    assert not _open_files() & set(pipes)
    mixed = _client()
    with pytest.raises(Failed, match="does not fit"):
        load(tls, type(mixed)(title="x", certificate=mixed.certificate, key=keys.to_pem(keys.generate("ecdsa-p256"))))


class _Transport:
    """The part of paramiko's client that a dial needs."""

    def __init__(self, error: Exception | None) -> None:
        self.error, self.sock = error, None
        self.asked: tuple[object, ...] = ()

    def is_active(self) -> bool:
        return True

    def set_keepalive(self, _seconds: int) -> None:
        pass

    def open_channel(self, *asked: object, timeout: float) -> object:
        self.asked = asked
        if self.error:
            raise self.error
        return socket.socketpair()[0]


class _Client:
    def __init__(self, error: Exception | None = None) -> None:
        self.transport = _Transport(error)

    def get_transport(self) -> _Transport:
        return self.transport


def _remote(error: Exception | None = None) -> tuple[Remote, _Client]:
    client = _Client(error)
    return Remote("m1", client, user="root", password=None), client  # type: ignore[arg-type]


def test_the_connection_is_made_from_the_host() -> None:
    remote, client = _remote()
    remote.dial("127.0.0.1", 10257, 1.0).close()
    assert client.transport.asked == ("direct-tcpip", ("127.0.0.1", 10257), ("127.0.0.1", 0))


def test_an_sshd_that_forwards_nothing_is_named_with_what_to_do() -> None:
    remote, _ = _remote(paramiko.ChannelException(1, "Administratively prohibited"))
    with pytest.raises(Failed, match=r"^m1: its sshd refuses .*10\.0\.0\.1:2379.*AllowTcpForwarding"):
        ask(remote, "10.0.0.1", 2379, "/", terms=None)


@pytest.mark.parametrize(
    ("error", "broken"),
    [
        (paramiko.ChannelException(2, "Connect failed"), "ConnectionRefusedError: 10.0.0.1:2379 as m1 sees it: connect failed"),
        (paramiko.SSHException("Unable to open channel."), "ConnectionError: 10.0.0.1:2379 as m1 sees it: Unable to open"),
    ],
)
def test_a_closed_port_is_an_answer(error: Exception, broken: str) -> None:
    answer = ask(_remote(error)[0], "10.0.0.1", 2379, "/", terms=None)
    assert answer.broken.startswith(broken)
    assert not answer.ended_by_the_server
