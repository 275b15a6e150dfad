"""The result of a gRPC call is its status; anything else from a server is a failure."""

from __future__ import annotations

import struct

import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import RequestReceived

from kubewright.tls.etcd_calls import RANGE, deleting, reading, reading_all
from kubewright.tls.grpc import Called, call
from kubewright.tls.stream import Terms
from tests.support.servers import LOOPBACK, SERVER, Here, authority, pem, server_context, serving

OURS = authority("etcd-ca")
SETTINGS, HEADERS, DATA, GO_AWAY = 4, 1, 0, 7
FIRST = b"\x88\x5f\x10application/grpc"
STATUS = bytes.fromhex("40889acac8b21234da8f")
"""As etcd 3.7.3 writes it: a literal that is indexed, its name Huffman-coded."""


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def _call(answer: bytes) -> tuple[Called, bytes]:
    identity = OURS.identity(SERVER, algorithm="ecdsa-p256")
    with serving(server_context(identity), lambda _connection, _request: answer) as server:
        called = call(Here(), LOOPBACK, server.port, RANGE, reading("/registry/x"), terms=Terms(trust=pem(OURS)))
    return called, server.requests[0]


@pytest.mark.parametrize(("text", "code"), [(b"\x010", 0), (b"\x017", 7), (b"\x0216", 16), (b"\x81\x07", 0)])
def test_the_status_of_a_call_is_read(text: bytes, code: int) -> None:
    served = _frame(HEADERS, 4, 1, FIRST) + _frame(DATA, 0, 1, b"\x00\x00\x00\x00\x00") + _frame(HEADERS, 5, 1, STATUS + text)
    refused = _frame(HEADERS, 5, 1, FIRST + STATUS + text)
    for answer in (served, refused):
        called, request = _call(_frame(SETTINGS, 0, 0, b"") + answer)
        assert called == Called(code=code)
        (asked,) = (
            e for e in H2Connection(H2Configuration(client_side=False)).receive_data(request) if isinstance(e, RequestReceived)
        )
        assert dict(asked.headers)[b":path"] == b"/etcdserverpb.KV/Range"


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        _frame(SETTINGS, 0, 0, b""),
        _frame(HEADERS, 5, 1, FIRST),
        _frame(HEADERS, 5, 1, STATUS),
        _frame(SETTINGS, 0, 0, b"") + _frame(HEADERS, 5, 1, FIRST + STATUS + b"\x04none"),
        _frame(HEADERS, 4, 1, FIRST) + _frame(DATA, 1, 1, b""),
        _frame(GO_AWAY, 0, 0, b"\0" * 8 + b"too many"),
        b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n",
    ],
    ids=["nothing", "settings", "no-status", "cut-short", "no-number", "data-only", "go-away", "http-1"],
)
def test_an_answer_without_a_status_is_none(answer: bytes) -> None:
    called, _ = _call(answer)
    assert called.code == -1
    assert called.broken


def test_requests_to_etcd_are_serialized_as_its_protocol_says() -> None:
    assert reading("/a") == b"\x0a\x02/a"
    assert deleting("/a") == b"\x0a\x02/a"
    assert reading_all("/a/") == b"\x0a\x03/a/\x12\x03/a0\x48\x01"
    assert reading_all("") == b"\x0a\x01\x00\x12\x01\x00\x48\x01"
