"""TLS servers on this machine's loopback, as strict as a test needs, and their clients."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Address

from cryptography import x509

from kubewright.tls import stream as tls_stream
from pki import certificates
from pki.certificates import Subject
from pki.identities import Identity, Signer, foreign

LOOPBACK = "127.0.0.1"
SERVER = Subject(
    common_name="server", usages=("server", "client"), dns_names=("localhost",), addresses=(IPv4Address("127.0.0.1"),)
)
CLIENT = Subject(common_name="client", organizations=("friends",), usages=("client",))


@dataclass(frozen=True)
class Here:
    """Connects from this machine."""

    name: str = "here"

    def dial(self, address: str, port: int, timeout: float) -> socket.socket:
        return socket.create_connection((address, port), timeout=timeout)


@dataclass(frozen=True)
class Redirected:
    """One server of the test answers at every address."""

    port: int
    name: str = "host"

    def dial(self, address: str, port: int, timeout: float) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=timeout)


@dataclass(frozen=True, kw_only=True)
class Server:
    port: int
    requests: list[bytes]


def authority(name: str = "kubernetes-ca") -> Signer:
    return foreign(name, "ecdsa-p256")


def pem(signer: Signer) -> bytes:
    return certificates.to_pem(signer.certificate)


def server_context(
    identity: Identity,
    clients: bytes | None = None,
    *,
    required: bool = False,
    lowest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_2,
    highest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3,
    ciphers: str = "ECDHE+AESGCM",
) -> ssl.SSLContext:
    """`clients`: the authority of client certificates; without one, every client is accepted."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls_stream.load(made, identity)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        made.minimum_version, made.maximum_version = lowest, highest
    made.set_ciphers(ciphers)
    if clients:
        made.load_verify_locations(cadata=clients.decode())
        made.verify_mode = ssl.CERT_REQUIRED if required else ssl.CERT_OPTIONAL
    return made


Respond = Callable[[ssl.SSLSocket, bytes], bytes]


def _http(status: str, body: bytes = b"ok") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


def everybody(_connection: ssl.SSLSocket, _request: bytes) -> bytes:
    return _http("200 OK")


def the_known(connection: ssl.SSLSocket, _request: bytes) -> bytes:
    """401 without a client certificate, 403 for another name than CLIENT's."""
    shown = connection.getpeercert(binary_form=True)
    if not shown:
        return _http("401 Unauthorized")
    subject = certificates.subject_of(x509.load_der_x509_certificate(shown))
    return _http("200 OK") if subject.common_name == CLIENT.common_name else _http("403 Forbidden")


@contextmanager
def serving(tls: ssl.SSLContext | None, respond: Respond = everybody, *, plain: bool = False) -> Iterator[Server]:
    """A server until the end of the block, over TLS; without `tls` it closes each connection at once. `plain`: it answers
    HTTP too."""
    requests: list[bytes] = []

    def serve(connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection:
            connection.settimeout(10)
            if tls is None:
                return
            if plain and connection.recv(1, socket.MSG_PEEK) != b"\x16":  # a TLS handshake's first byte
                connection.recv(65536)
                connection.sendall(_http("200 OK"))
                return
            with tls.wrap_socket(connection, server_side=True) as secured:
                requests.append(request := secured.recv(65536))
                secured.sendall(respond(secured, request))
                with contextlib.suppress(OSError):
                    secured.unwrap()

    with socket.create_server((LOOPBACK, 0)) as listener:
        thread = threading.Thread(target=_accept, args=(listener, serve))
        thread.start()
        try:
            yield Server(port=listener.getsockname()[1], requests=requests)
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(timeout=30)


def _accept(listener: socket.socket, serve: Callable[[socket.socket], None]) -> None:
    workers: list[threading.Thread] = []
    with contextlib.suppress(OSError):
        while True:
            connection, _ = listener.accept()
            workers.append(threading.Thread(target=serve, args=(connection,)))
            workers[-1].start()
    for worker in workers:
        worker.join(timeout=30)


def shown(signers: Sequence[Signer]) -> bytes:
    """A bundle of authorities."""
    return b"".join(map(pem, signers))
