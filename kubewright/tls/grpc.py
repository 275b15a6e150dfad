"""One unary gRPC call. etcd's JSON gateway ignores the names in client certificates; gRPC does not.

Only gRPC's status is read from the answer. A call without a status has failed, even if the server sent other data.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import ConnectionTerminated, DataReceived, Event, ResponseReceived, StreamEnded, StreamReset, TrailersReceived
from h2.exceptions import H2Error

from kubewright.tls.probe import TIMEOUT, Answer, Dials, attempt
from kubewright.tls.stream import Stream, Terms, Tls, context

OK, FAILED_PRECONDITION, PERMISSION_DENIED, UNAUTHENTICATED = 0, 9, 7, 16
"""gRPC's status codes (grpc/statuscodes). etcd: 9 is a user that it does not know."""

_CHUNK = 1 << 15


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
    """Call `/package.Service/Method` with a serialized `message`. Failed when the host's sshd forwards no connection."""
    tls, codes = context(replace(terms, protocols=("h2",))), list[int]()

    def exchange(stream: Stream) -> Answer:
        pipe = Tls(stream, tls, terms.server_name or str(address))
        try:
            codes.append(_status(pipe, method, f"{address}:{port}", message))
        except H2Error as error:
            raise ConnectionError(f"not HTTP/2 as RFC 9113 has it: {type(error).__name__} {error}") from error
        return Answer(status=200)

    answer = attempt(host, str(address), port, exchange, timeout)
    return Called(code=codes[0]) if codes else Called(broken=str(answer))


def _status(pipe: Tls, method: str, authority: str, message: bytes) -> int:
    """Send the request, return the call's status. H2Error; OSError or EOFError when the call ends without a status."""
    connection = H2Connection(H2Configuration(header_encoding=None))
    connection.initiate_connection()
    request = {":method": "POST", ":scheme": "https", ":path": method, ":authority": authority}
    stream = connection.get_next_available_stream_id()
    connection.send_headers(stream, [*request.items(), ("content-type", "application/grpc"), ("te", "trailers")])
    connection.send_data(stream, b"\x00" + struct.pack(">I", len(message)) + message, end_stream=True)
    while True:
        pipe.sendall(connection.data_to_send())
        if not (data := pipe.read(_CHUNK)):
            raise EOFError
        for event in connection.receive_data(data):
            if (code := _read(connection, event)) is not None:
                return code


def _read(connection: H2Connection, event: Event) -> int | None:
    """The status, if the event holds it. ConnectionError when it ends the call without one."""
    if isinstance(event, ResponseReceived | TrailersReceived):
        status = dict(event.headers).get(b"grpc-status", b"")
        return int(status) if status.isdigit() else None
    if isinstance(event, DataReceived):
        connection.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
    if isinstance(event, StreamReset | ConnectionTerminated):
        raise ConnectionError(f"HTTP/2 ended the call (error code {event.error_code})")
    if isinstance(event, StreamEnded):
        raise ConnectionError("the call ended without a status")
    return None
