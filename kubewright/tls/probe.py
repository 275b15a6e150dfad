"""One HTTPS request, or one handshake, to any address as a host sees it: through the host's SSH connection, from this process.

The host needs no program for it, and ports on its loopback can be reached too.
"""

from __future__ import annotations

import http.client
import io
import json
import ssl
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, cast

from kubewright.tls.stream import Stream, Terms, Tls, context

TIMEOUT = 10.0
"""Seconds without a byte."""
MOST = 1 << 24
"""Bytes read of a body: enough to judge it."""


class Dials(Protocol):
    """Opens connections from a place, as `kubewright.hosts.remote.Remote` does from a host.

    `dial` raises OSError when nothing answers, and Failed when the host does not allow the connection.
    """

    def dial(self, address: str, port: int, timeout: float) -> Stream: ...


@dataclass(frozen=True, kw_only=True)
class Answer:
    """The result of a request: a status and a body, or why there is none.

    `alert` is TLS's own word for a refusal by the other end (OpenSSL's name of it); `broken` any other end of the
    connection.
    """

    status: int = 0
    body: bytes = b""
    alert: str = ""
    broken: str = ""

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def text(self) -> str:
        return self.body.decode(errors="replace")

    @property
    def ended_by_the_server(self) -> bool:
        """Whether the handshake failed: its alert came, or the connection's end overtook it. Not a byte was served."""
        return self.status == 0 and (bool(self.alert) or self.broken.startswith(("EOF", "ConnectionResetError")))

    @property
    def does_not_verify(self) -> bool:
        """Whether this side refused the server's certificate."""
        return self.broken.startswith(_DOES_NOT_VERIFY)

    def __str__(self) -> str:
        return f"{self.status} {self.text[:200]}" if self.status else self.alert or self.broken


_DOES_NOT_VERIFY = "its certificate does not verify"


class _Plain(io.RawIOBase):
    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    def sendall(self, data: bytes) -> None:
        self._stream.sendall(data)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._stream.recv(len(buffer))
        buffer[: len(data)] = data
        return len(data)


class _Received:
    """The part of a socket that http.client uses."""

    def __init__(self, raw: io.RawIOBase) -> None:
        self._raw = raw

    def makefile(self, *_: object) -> io.BufferedReader:
        return io.BufferedReader(self._raw)


def ask(
    host: Dials,
    address: object,
    port: int,
    path: str,
    *,
    terms: Terms | None,
    method: str = "GET",
    body: object = None,
    headers: Mapping[str, str] | None = None,
    timeout: float = TIMEOUT,
) -> Answer:
    """One request to address:port as `host` sees it; in plain HTTP when there are no `terms`.

    Network errors are in the answer. Failed when the host's sshd does not let connections through.
    """
    tls = context(terms) if terms else None

    def exchange(stream: Stream) -> Answer:
        pipe = Tls(stream, tls, terms.server_name or str(address)) if terms and tls else _Plain(stream)
        pipe.sendall(_request(method, f"{address}:{port}", path, body, headers or {}))
        response = http.client.HTTPResponse(cast(Any, _Received(pipe)), method=method)
        response.begin()
        return Answer(status=response.status, body=response.read(MOST))

    return attempt(host, str(address), port, exchange, timeout)


def attempt(host: Dials, address: str, port: int, exchange: Callable[[Stream], Answer], timeout: float = TIMEOUT) -> Answer:
    """`exchange` over a connection from `host`, with errors as an Answer."""
    stream: Stream | None = None
    try:
        stream = host.dial(address, port, timeout)
        stream.settimeout(timeout)
        return exchange(stream)
    except ssl.SSLCertVerificationError as error:
        return Answer(broken=f"{_DOES_NOT_VERIFY}: {error.verify_message}")
    except ssl.SSLEOFError:
        return Answer(broken="EOF in the middle of TLS")
    except ssl.SSLError as error:
        reason = error.reason or str(error)
        return Answer(alert=reason) if "ALERT" in reason else Answer(broken=reason)
    except (EOFError, http.client.RemoteDisconnected):
        return Answer(broken="EOF instead of an answer")
    except (OSError, http.client.HTTPException) as error:
        return Answer(broken=f"{type(error).__name__}: {error}")
    finally:
        if stream is not None:
            stream.close()


def _request(method: str, host: str, path: str, body: object, headers: Mapping[str, str]) -> bytes:
    content = b"" if body is None else json.dumps(body).encode()
    sent = {"Host": host, "Connection": "close", "Content-Type": "application/json", "Content-Length": len(content), **headers}
    head = "".join(f"{name}: {value}\r\n" for name, value in sent.items())
    return f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode() + content


@dataclass(frozen=True, kw_only=True)
class Served:
    """The certificates that a listener sent, in DER, its own first. `broken` says why there are none."""

    chain: tuple[bytes, ...] = ()
    broken: str = ""

    @property
    def leaf(self) -> bytes:
        """IndexError when there is none."""
        return self.chain[0]


def served(
    host: Dials, address: object, port: int, *, server_name: str = "", protocols: tuple[str, ...] = (), timeout: float = TIMEOUT
) -> Served:
    """The chain that address:port serves, as `host` sees it, not verified.

    Over TLS 1.3, where a server sends its certificate before it checks the client's, so the client needs none.
    """
    chain: list[bytes] = []

    def exchange(stream: Stream) -> Answer:
        terms = Terms(trust=None, lowest=ssl.TLSVersion.TLSv1_3, protocols=protocols)
        tls = Tls(stream, context(terms), server_name or str(address))
        chain.extend(_chain(tls.object))
        return Answer(status=200)

    answer = attempt(host, str(address), port, exchange, timeout)
    return Served(chain=tuple(chain), broken="" if chain else str(answer))


def _chain(tls: ssl.SSLObject) -> Iterator[bytes]:
    # Public from Python 3.13 on; before, only the object behind it has this.
    if hasattr(tls, "get_unverified_chain"):
        yield from tls.get_unverified_chain()
        return
    for certificate in tls._sslobj.get_unverified_chain():  # type: ignore[attr-defined]
        yield ssl.PEM_cert_to_DER_cert(certificate.public_bytes())
