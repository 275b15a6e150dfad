"""One unary gRPC call, as much of HTTP/2 (RFC 9113) as it takes: etcd's JSON gateway ignores certificates' names, gRPC does not.

Only what came of the call is read: gRPC's status. Its header is found as Go's servers write it on a new connection,
a literal with its name in Huffman's code (RFC 7541, 6.2.1); one that is written otherwise is no answer, never a good one.
"""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass, replace

from kubewright.tls.probe import TIMEOUT, Answer, Dials, attempt
from kubewright.tls.stream import Stream, Terms, Tls, context

OK, FAILED_PRECONDITION, PERMISSION_DENIED, UNAUTHENTICATED = 0, 9, 7, 16
"""gRPC's status codes (grpc/statuscodes). etcd: 9 is a user that it does not know."""

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _RESET, _SETTINGS, _GO_AWAY = 0, 1, 3, 4, 7
_END_STREAM, _END_HEADERS, _ACKNOWLEDGED = 1, 4, 1
_GRPC_STATUS = bytes.fromhex("889acac8b21234da8f")
"""`grpc-status`, Huffman-coded, after its length."""


@dataclass(frozen=True, kw_only=True)
class Called:
    """`code` is gRPC's status; `broken` says why there is none."""

    code: int = -1
    broken: str = ""

    def __str__(self) -> str:
        return self.broken or f"gRPC status {self.code}"


def call(
    host: Dials, address: object, port: int, method: str, message: bytes, *, terms: Terms, timeout: float = TIMEOUT
) -> Called:
    """Call `/package.Service/Method` with a serialized `message`. Failed when the host's sshd lets nothing through."""
    tls, codes = context(replace(terms, protocols=("h2",))), list[int]()

    def exchange(stream: Stream) -> Answer:
        pipe = Tls(stream, tls, terms.server_name or str(address))
        pipe.sendall(_request(method, f"{address}:{port}", message))
        codes.append(_status(io.BufferedReader(pipe)))
        return Answer(status=200)

    answer = attempt(host, str(address), port, exchange, timeout)
    return Called(code=codes[0]) if codes else Called(broken=str(answer))


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def _text(value: str) -> bytes:
    """HPACK's string, not Huffman-coded; at most 126 bytes, which fit its length's one byte."""
    encoded = value.encode()
    assert len(encoded) < 0x7F, value
    return bytes([len(encoded)]) + encoded


def _request(method: str, authority: str, message: bytes) -> bytes:
    # 0x83, 0x87: `:method POST`, `:scheme https` of HPACK's static table; 4 and 1 are the names :path and :authority of it.
    fields = b"\x83\x87\x04" + _text(method) + b"\x01" + _text(authority)
    for name, value in (("content-type", "application/grpc"), ("te", "trailers")):
        fields += b"\x00" + _text(name) + _text(value)
    headers = _frame(_HEADERS, _END_HEADERS, 1, fields)
    data = _frame(_DATA, _END_STREAM, 1, b"\x00" + struct.pack(">I", len(message)) + message)
    return _PREFACE + _frame(_SETTINGS, 0, 0, b"") + _frame(_SETTINGS, _ACKNOWLEDGED, 0, b"") + headers + data


def _status(received: io.BufferedReader) -> int:
    """The status in the headers that end stream 1. OSError when the stream ends without one."""
    while True:
        head = received.read(9)
        if len(head) < 9:
            raise EOFError
        size, kind, flags = int.from_bytes(head[:3], "big"), head[3], head[4]
        payload = received.read(size)
        if kind in (_RESET, _GO_AWAY):
            raise ConnectionError(f"HTTP/2 ended the call (frame {kind}, {payload[-200:]!r})")
        if kind == _HEADERS and flags & _END_STREAM:
            return _code(payload)


def _code(fields: bytes) -> int:
    _, found, rest = fields.partition(_GRPC_STATUS)
    text = rest[1 : 1 + rest[0]] if found and rest and rest[0] < 0x80 else b""
    if not text.isdigit():
        raise ConnectionError(f"the call ended without a status that can be read ({fields[:200]!r})")
    return int(text)
