"""TLS over any stream of bytes, with keys from memory."""

from __future__ import annotations

import io
import os
import ssl
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from kubewright.errors import Failed
from pki.identities import Identity

_CHUNK = 1 << 15
_T = TypeVar("_T")


class Stream(Protocol):
    """A connection: a socket, or a channel of SSH."""

    def sendall(self, data: bytes, /) -> object: ...
    def recv(self, size: int, /) -> bytes: ...
    def settimeout(self, seconds: float, /) -> object: ...
    def close(self) -> object: ...


@dataclass(frozen=True, kw_only=True)
class Terms:
    """A client's TLS parameters. `trust` is one or more authorities' PEM; None accepts any certificate."""

    trust: bytes | None
    identity: Identity | None = None
    server_name: str = ""
    """Empty: the address that is connected to."""
    lowest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_2
    highest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3
    ciphers: str = ""
    """For TLS 1.2 and older, in OpenSSL's words; empty for its own choice."""
    protocols: tuple[str, ...] = ("http/1.1",)
    """ALPN."""


def context(terms: Terms) -> ssl.SSLContext:
    """OpenSSL's side of `terms`. ssl.SSLError when `trust` holds no certificate; Failed as `load`."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if terms.trust is None:
        made.check_hostname, made.verify_mode = False, ssl.CERT_NONE
    else:
        made.load_verify_locations(cadata=terms.trust.decode())
    with warnings.catch_warnings():
        # Old versions are offered to test that servers refuse them.
        warnings.simplefilter("ignore", DeprecationWarning)
        made.minimum_version, made.maximum_version = terms.lowest, terms.highest
    if terms.ciphers or terms.lowest < ssl.TLSVersion.TLSv1_2:
        # Otherwise the client's own library would refuse the connection before the server can.
        made.set_ciphers(terms.ciphers or "ALL:@SECLEVEL=0")
    if terms.identity:
        load(made, terms.identity)
    made.set_alpn_protocols(list(terms.protocols))
    return made


def load(into: ssl.SSLContext, identity: Identity) -> None:
    """Give `into` a certificate and key. Python's ssl takes only file names: these are pipes, so no key is on a disk.

    Failed when key and certificate do not match.
    """
    with _pipe(identity.certificate) as certificate, _pipe(identity.key) as key:
        try:
            into.load_cert_chain(certificate, key)
        except OSError as error:  # ssl.SSLError, or an error of OpenSSL's read of a pipe
            raise Failed(f"{identity.title}: its private key does not fit its certificate; bring the store back whole") from error


@contextmanager
def _pipe(content: bytes) -> Iterator[str]:
    """The name of a file with `content`, which can be read once. It must fit a pipe's buffer: 16 KiB at least."""
    ends = os.pipe()
    # File objects: gevent's os.close leaves a descriptor open until its loop turns next.
    with os.fdopen(ends[0], "rb") as reader:
        with os.fdopen(ends[1], "wb") as writer:
            writer.write(content)
        yield f"/dev/fd/{reader.fileno()}"


class Tls(io.RawIOBase):
    """TLS over a stream. Reading and writing raise OSError, ssl.SSLError among them."""

    def __init__(self, stream: Stream, tls: ssl.SSLContext, server_name: str) -> None:
        self._stream, self._incoming, self._outgoing = stream, ssl.MemoryBIO(), ssl.MemoryBIO()
        self.object = tls.wrap_bio(self._incoming, self._outgoing, server_hostname=server_name)
        self._pump(self.object.do_handshake)

    def _flush(self) -> None:
        if data := self._outgoing.read():
            self._stream.sendall(data)

    def _pump(self, step: Callable[[], _T]) -> _T:
        while True:
            try:
                result = step()
            except ssl.SSLWantReadError:
                self._flush()
                data = self._stream.recv(_CHUNK)
                self._incoming.write(data) if data else self._incoming.write_eof()
            except ssl.SSLError:
                self._farewell()
                raise
            else:
                self._flush()
                return result

    def _farewell(self) -> None:
        # Send the alert with the reason; the other end may be gone already.
        try:
            self._flush()
        except OSError:
            return

    def sendall(self, data: bytes) -> None:
        self._pump(lambda: self.object.write(data))

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._pump(lambda: self.object.read(len(buffer)))
        buffer[: len(data)] = data
        return len(data)
