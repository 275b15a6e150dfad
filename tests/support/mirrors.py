"""A mirror that asks for a password, with the servers that it may send a client to.

One server plays every host: names end in .test and resolve to this machine.
"""

from __future__ import annotations

import base64
import json
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from kubewright.artifacts import Cache, SourceConfig, Wanted, obtain, obtain_images
from kubewright.errors import Failed
from kubewright.releases import DEFAULT
from tests.support.servers import SERVER, authority, pem, server_context

WANTED = Wanted(component="kubernetes", name="kubectl", version="1.37.1", arch="amd64")
FILE = "/dl.k8s.io/v1.37.1/bin/linux/amd64/kubectl"
IMAGE = "/registry.k8s.io/v2/pause"
MANIFEST = f"{IMAGE}/manifests/{DEFAULT.pause}"
USER, PASSWORD = "robot$ci", "s3cret/with:signs@"
BASIC = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
NAMES = ("mirror.test", "files.test", "tokens.test", "localhost")
AUTHORITY = authority()
IDENTITY = AUTHORITY.identity(replace(SERVER, dns_names=NAMES), algorithm="ecdsa-p256")


@dataclass(frozen=True, kw_only=True)
class Guard:
    """Which requests to a host are refused: all without that header."""

    accepts: str
    status: int = 401
    challenge: str = 'Basic realm="mirror"'


@dataclass
class Site:
    secure_port: int = 0
    plain_port: int = 0
    files: dict[str, bytes] = field(default_factory=dict)
    guards: dict[str, Guard] = field(default_factory=dict)
    moved: dict[str, str] = field(default_factory=dict)
    """Path to address."""
    heard: list[tuple[str, str, str]] = field(default_factory=list)
    """Host, path and the header Authorization of each request."""

    def at(self, host: str, *, tls: bool = True) -> str:
        return f"https://{host}:{self.secure_port}" if tls else f"http://{host}:{self.plain_port}"

    def sent_to(self, host: str) -> set[str]:
        return {sent for name, _, sent in self.heard if name == host}

    def answer(self, host: str, path: str, sent: str, *, tls: bool) -> tuple[int, dict[str, str], bytes]:
        guard = self.guards.get(host)
        if guard and sent != guard.accepts:
            return guard.status, {"WWW-Authenticate": guard.challenge} if guard.challenge else {}, b""
        if self.moved.get(path, self.at(host, tls=tls)) != self.at(host, tls=tls):
            return 302, {"Location": self.moved[path] + path}, b""
        found = self.files.get(path)
        return (404, {}, b"") if found is None else (200, {}, found)


@contextmanager
def _serving(site: Site, tls: ssl.SSLContext | None) -> Iterator[int]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: object) -> None:
            """Quiet."""

        def do_GET(self) -> None:
            host, sent = self.headers["Host"].partition(":")[0], self.headers.get("Authorization", "")
            site.heard.append((host, self.path, sent))
            status, headers, body = site.answer(host, self.path, sent, tls=tls is not None)
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        def do_HEAD(self) -> None:
            self.do_GET()

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if tls:
        server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def serving_mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """The servers, with a home folder that has no credentials yet."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy", "NETRC", "DOCKER_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    (tmp_path / "ca.crt").write_bytes(pem(AUTHORITY))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.crt"))
    connect = socket.create_connection

    # Not getaddrinfo: gevent's create_connection, which other tests bring into the process, does not look it up in `socket`.
    def here(address: tuple[str, int], *rest: Any, **more: Any) -> Any:
        host, port = address
        return connect(("127.0.0.1" if host.endswith(".test") else host, port), *rest, **more)

    monkeypatch.setattr(socket, "create_connection", here)
    made = Site()
    with _serving(made, server_context(IDENTITY)) as secure, _serving(made, None) as plain:
        made.secure_port, made.plain_port = secure, plain
        yield made


def netrc(text: str = "", *, mode: int = 0o600) -> Path:
    path = Path.home() / ".netrc"
    path.write_text(text or f'machine mirror.test login {USER} password "{PASSWORD}"\n')
    path.chmod(mode)
    return path


def docker(config: Any, *, mode: int = 0o600) -> Path:
    path = Path.home() / ".docker" / "config.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(config if isinstance(config, str) else json.dumps(config))
    path.chmod(mode)
    return path


def logged_in(site: Site, host: str = "mirror.test") -> Path:
    """As `docker login` leaves it."""
    return docker({"auths": {f"{host}:{site.secure_port}": {"auth": BASIC.removeprefix("Basic ")}}})


def fetch(base: str, cache: Cache, lock: Path | None = None) -> Any:
    (found,) = obtain([WANTED], SourceConfig(kind="mirror", mirror=base), cache, lambda _: None, lock)
    return found


def pull(base: str, cache: Cache, lock: Path | None = None) -> Any:
    source = SourceConfig(kind="mirror", mirror=base)
    (found,) = obtain_images(DEFAULT, "amd64", source, cache, lambda _: None, lock, names=("pause",))
    return found


def refused(get: Any, *arguments: Any) -> str:
    """The error for a person; never with the password, in any spelling."""
    with pytest.raises(Failed) as caught:
        get(*arguments)
    said = str(caught.value)
    assert PASSWORD not in said and BASIC.split()[1] not in said and USER not in said
    return said
