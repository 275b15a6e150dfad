"""HTTP from where a lab host stands: its loopback, its routes and its Services are this thread's for a while."""

from __future__ import annotations

import ctypes
import http.client
import json
import os
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kubewright.lab import Lab
from tests.cluster.identities import Identity

TIMEOUT = 10.0
_CLONE_NEWNET = 0x40000000


def _setns(descriptor: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(descriptor, _CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")


@contextmanager
def on(lab: Lab, host: str | None = None) -> Iterator[None]:
    """Inside, this thread's sockets are those of `host`; of a machine beside the hosts when it is None."""
    there_name = lab.tag(host) if host else lab.namespace
    own = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    there = os.open(Path("/run/netns") / there_name, os.O_RDONLY | os.O_CLOEXEC)
    try:
        _setns(there)
        try:
            yield
        finally:
            _setns(own)
    finally:
        os.close(own)
        os.close(there)


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What came of a request: a status and a body, or why there is none.

    `alert` is TLS's own word for a refusal by the other end; `broken` any other end of the connection.
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

    def __str__(self) -> str:
        return f"{self.status} {self.text[:200]}" if self.status else self.alert or self.broken


def ask(
    address: object,
    port: int,
    path: str,
    *,
    authority: bytes | None = None,
    identity: Identity | None = None,
    server_name: str | None = None,
    method: str = "GET",
    body: object = None,
    headers: Mapping[str, str] | None = None,
    highest: ssl.TLSVersion = ssl.TLSVersion.MAXIMUM_SUPPORTED,
    timeout: float = TIMEOUT,
) -> Answer:
    """One request, over TLS verified with `authority`'s PEM or in plain HTTP without. The network never raises."""
    connection = http.client.HTTPConnection(str(address), port, timeout=timeout)
    try:
        if authority is not None:
            context = ssl.create_default_context(cadata=authority.decode())
            if highest < ssl.TLSVersion.TLSv1_2:
                # Otherwise this side's own library would refuse.
                context.minimum_version = highest
                context.set_ciphers("ALL:@SECLEVEL=0")
            context.maximum_version = highest
            if identity is not None:
                identity.load_into(context)
            connection.connect()
            connection.sock = context.wrap_socket(connection.sock, server_hostname=server_name or str(address))
        sent = {"Content-Type": "application/json", **(headers or {})}
        connection.request(method, path, None if body is None else json.dumps(body), sent)
        response = connection.getresponse()
        return Answer(status=response.status, body=response.read())
    except ssl.SSLCertVerificationError as error:
        return Answer(broken=f"its certificate does not verify: {error.verify_message}")
    except ssl.SSLError as error:
        reason = error.reason or str(error)
        return Answer(alert=reason) if "ALERT" in reason else Answer(broken=reason)
    except (OSError, http.client.HTTPException) as error:
        return Answer(broken=f"{type(error).__name__}: {error}")
    finally:
        connection.close()


@dataclass(frozen=True, kw_only=True)
class Api:
    """The API as clients on a host reach it: https://127.0.0.1:6443, an apiserver's own or a load balancer's."""

    lab: Lab
    host: str
    authority: bytes
    identity: Identity
    timeout: float = TIMEOUT

    def ask(self, path: str, method: str = "GET", body: object = None, headers: Mapping[str, str] | None = None) -> Answer:
        with on(self.lab, self.host):
            return ask(
                "127.0.0.1",
                6443,
                path,
                authority=self.authority,
                identity=self.identity,
                method=method,
                body=body,
                headers=headers,
                timeout=self.timeout,
            )

    def get(self, path: str) -> Any:
        """The object at `path`; AssertionError when it is not given."""
        answer = self.ask(path)
        assert answer.status == 200, f"GET {path} on {self.host}: {answer}"
        return answer.json

    def create(self, path: str, body: object) -> Any:
        """The object as it was acknowledged; AssertionError when it was not."""
        answer = self.ask(path, "POST", body)
        assert answer.status == 201, f"POST {path} on {self.host}: {answer}"
        return answer.json
