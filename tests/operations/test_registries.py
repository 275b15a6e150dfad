"""The question that `verify` asks registries from a host, against TLS servers on this machine."""

from __future__ import annotations

import base64
import ssl
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from kubewright.model.build import make_plan
from kubewright.model.cluster import Plan
from kubewright.spec import loads
from roles.containerd import registries
from tests.support.servers import SERVER, authority, pem, server_context, serving

LOGIN = base64.b64encode(b"me:right").decode()


@dataclass(frozen=True)
class Here:
    """This machine as the host."""

    def run(self, command: str) -> Any:
        return subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False, timeout=60)


def _http(status: str, header: str = "") -> bytes:
    return f"HTTP/1.1 {status}\r\n{header}Content-Length: 0\r\nConnection: close\r\n\r\n".encode()


def closed(_connection: ssl.SSLSocket, request: bytes) -> bytes:
    """A registry with a password."""
    known = f"Authorization: Basic {LOGIN}\r\n".encode() in request
    return _http("200 OK") if known else _http("401 Unauthorized", 'Www-Authenticate: Basic realm="x"\r\n')


CA = authority("registries")


@pytest.fixture
def port(request: pytest.FixtureRequest) -> Iterator[int]:
    identity = CA.identity(SERVER, algorithm="ecdsa-p256")
    with serving(server_context(identity), getattr(request, "param", closed)) as server:
        yield server.port


Verified = Callable[..., str]


@pytest.fixture
def verified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Verified:
    """A function that gives what `verify` says of a registry at 127.0.0.1."""
    monkeypatch.setattr(registries, "FOLDER", str(tmp_path / "certs.d"))
    (tmp_path / "ca.crt").write_bytes(pem(CA))
    (tmp_path / "other.crt").write_bytes(pem(authority("other")))

    def of(port: int, ca: str = "ca.crt", password: str = "right") -> str:  # noqa: S107
        login = f", user: me, password_file: {tmp_path}/password" if password else ""
        (tmp_path / "password").write_text(password)
        (tmp_path / "password").chmod(0o600)
        text = "name: x\nhosts: [{name: m1, address: 192.0.2.11, roles: [master]}]\nimages:\n  registries:\n"
        plan = make_plan(loads(f"{text}  - {{host: '127.0.0.1:{port}', ca: {ca}{login}}}\n".encode(), folder=tmp_path))
        return _said(plan)

    return of


def _said(plan: Plan) -> str:
    for file in registries.files(plan.images):
        assert isinstance(file.content, bytes)
        Path(file.path).parent.mkdir(parents=True, exist_ok=True)
        Path(file.path).write_bytes(file.content)
    try:
        registries.answer(Here(), plan, plan.nodes[0])
    except AssertionError as error:
        return str(error)
    return ""


def test_a_registry_that_accepts_the_login_is_right(port: int, verified: Verified) -> None:
    assert verified(port) == ""


def test_a_wrong_password_is_named_with_its_user_and_is_not_shown(port: int, verified: Verified) -> None:
    assert verified(port, password="wrong").startswith(
        f"registry 127.0.0.1:{port} (https://127.0.0.1:{port}/v2/) refuses the user me (HTTP 401)"
    )
    assert "wrong" not in verified(port, password="wrong").replace("wrong user", "")


def test_missing_credentials_are_named(port: int, verified: Verified) -> None:
    assert "wants credentials (HTTP 401)" in verified(port, password="")


def test_a_wrong_ca_is_named(port: int, verified: Verified) -> None:
    said = verified(port, ca="other.crt")
    assert f"registry 127.0.0.1:{port} " in said
    assert "its certificate is not trusted by the CA of images.registries" in said


@pytest.mark.parametrize("port", [lambda _connection, _request: _http("404 Not Found")], indirect=True)
def test_a_server_that_is_no_registry_is_named(port: int, verified: Verified) -> None:
    assert "is not a registry (HTTP 404)" in verified(port)


def test_a_registry_that_does_not_answer_is_named(verified: Verified) -> None:
    with serving(None) as gone:
        port = gone.port
    assert f"registry 127.0.0.1:{port} (https://127.0.0.1:{port}/v2/) does not answer: curl: (7)" in verified(port)


@pytest.mark.parametrize(("password", "why"), [("right", ""), ("wrong", "refuses the user me (HTTP 401)")])
def test_a_token_server_is_asked_with_the_login(password: str, why: str, verified: Verified) -> None:
    """As containerd does: the registry asks for a token, and the token server for the password."""
    identity = CA.identity(SERVER, algorithm="ecdsa-p256")
    with serving(server_context(identity), closed) as tokens:
        challenge = f'WWW-Authenticate: Bearer realm="https://127.0.0.1:{tokens.port}/token",service="r"\r\n'

        def registry(_connection: ssl.SSLSocket, _request: bytes) -> bytes:
            return _http("401 Unauthorized", challenge)

        with serving(server_context(identity), registry) as server:
            assert why in verified(server.port, password=password)
            assert bool(verified(server.port, password=password)) == bool(why)
        assert tokens.requests[0].startswith(b"GET /token?service=r ")
