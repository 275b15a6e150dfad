"""An HTTP/2 client that keeps one connection and handles its end exactly as RFC 9113 says.

httpx fails a request when a GOAWAY arrives before the answer, although the server does answer. Here, a stream that the
server has not started, according to GOAWAY, is sent on the next connection (6.8); a started one is awaited; nothing is retried.
"""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial

from hpack import Decoder, Encoder
from hyperframe.frame import (
    DataFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
REFUSED_STREAM = 7
_HEADER = 9


class NotBegun(Exception):
    """The server did not start the stream: it may be sent on another connection."""


class Broken(Exception):
    """The connection ended before the answer."""


@dataclass
class Connection:
    """One connection. `ask` raises NotBegun, Broken or OSError."""

    address: str
    port: int
    context: Callable[[], ssl.SSLContext]
    """Called at the beginning of each connection, since certificates may change."""
    timeout: float
    last_stream: int | None = None
    """The last stream in GOAWAY: the server starts none above it. None until then."""
    _stream: int = -1
    _received: bytes = b""
    _encoder: Encoder = field(default_factory=Encoder)
    _decoder: Decoder = field(default_factory=Decoder)

    def __post_init__(self) -> None:
        context = self.context()
        context.set_alpn_protocols(["h2"])
        raw = socket.create_connection((self.address, self.port), self.timeout)
        self._socket = context.wrap_socket(raw, server_hostname=self.address)
        if self._socket.selected_alpn_protocol() != "h2":
            raise Broken("the server does not speak HTTP/2")
        self._socket.sendall(PREFACE + SettingsFrame(settings={SettingsFrame.ENABLE_PUSH: 0}).serialize())

    def close(self) -> None:
        self._socket.close()

    def ask(self, method: str, path: str, body: bytes) -> tuple[int, bytes]:
        """Status and body."""
        self._look()
        if self.last_stream is not None:
            raise NotBegun
        self._stream += 2
        mine, deadline = self._stream, time.monotonic() + self.timeout
        fields = {":method": method, ":scheme": "https", ":authority": f"{self.address}:{self.port}", ":path": path}
        headers = HeadersFrame(mine, data=self._encoder.encode([*fields.items(), ("content-type", "application/json")]))
        headers.flags.add("END_HEADERS")
        data = DataFrame(mine, data=body)
        data.flags.add("END_STREAM")
        self._socket.sendall(headers.serialize() + data.serialize())
        status, answer = 0, b""
        for frame in self._frames(deadline):
            if self.last_stream is not None and mine > self.last_stream:
                raise NotBegun
            if frame.stream_id != mine:
                continue
            if isinstance(frame, RstStreamFrame):
                raise NotBegun if frame.error_code == REFUSED_STREAM else Broken(f"RST_STREAM {frame.error_code}")
            if isinstance(frame, HeadersFrame):
                status = int(dict(self._decoder.decode(frame.data, raw=True))[b":status"])
            if isinstance(frame, DataFrame):
                answer += frame.data
            if "END_STREAM" in frame.flags:
                return status, answer
        raise Broken("closed before the answer")

    def _look(self) -> None:
        """The bytes received since the last answer."""
        self._socket.setblocking(False)
        try:
            while block := self._socket.recv(1 << 16):
                self._received += block
            self.last_stream = self.last_stream if self.last_stream is not None else self._stream
        except (ssl.SSLWantReadError, BlockingIOError):
            pass
        finally:
            self._socket.settimeout(self.timeout)
        for _ in self._parsed():
            pass

    def _frames(self, deadline: float) -> Iterator[Frame]:
        while True:
            yield from self._parsed()
            self._socket.settimeout(max(0.01, deadline - time.monotonic()))
            block = self._socket.recv(1 << 16)
            if not block:
                return
            self._received += block

    def _parsed(self) -> Iterator[Frame]:
        while len(self._received) >= _HEADER:
            frame, length = Frame.parse_frame_header(memoryview(self._received)[:_HEADER])
            if len(self._received) < _HEADER + length:
                return
            frame.parse_body(memoryview(self._received)[_HEADER : _HEADER + length])
            self._received = self._received[_HEADER + length :]
            self._heed(frame)
            yield frame

    def _heed(self, frame: Frame) -> None:
        if isinstance(frame, GoAwayFrame):
            self.last_stream = frame.last_stream_id
        elif isinstance(frame, SettingsFrame | PingFrame) and "ACK" not in frame.flags:
            answer = PingFrame(opaque_data=frame.opaque_data) if isinstance(frame, PingFrame) else SettingsFrame()
            answer.flags.add("ACK")
            self._socket.sendall(answer.serialize())
        elif isinstance(frame, DataFrame) and frame.flow_controlled_length:
            self._socket.sendall(WindowUpdateFrame(0, window_increment=frame.flow_controlled_length).serialize())


class Client:
    """Asks over one connection as long as it is open, then over the next."""

    def __init__(self, address: str, port: int, context: Callable[[], ssl.SSLContext], timeout: float) -> None:
        self._new = partial(Connection, address, port, context, timeout)
        self._connection: Connection | None = None

    def ask(self, method: str, path: str, body: bytes) -> tuple[int, bytes]:
        """Status and body. Broken or OSError when there is no answer."""
        while True:
            if self._connection is None:
                self._connection = self._new()
            try:
                return self._connection.ask(method, path, body)
            except NotBegun:
                self.close()
            except (Broken, OSError):
                self.close()
                raise

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
