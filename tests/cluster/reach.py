"""HTTP from a lab host: this thread uses the host's loopback, routes and Services."""

from __future__ import annotations

import ctypes
import os
import socket
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gevent import monkey

from kubewright.lab import Lab
from kubewright.tls import probe as tls_probe
from kubewright.tls.probe import Answer
from kubewright.tls.stream import Terms
from pki.identities import Identity

TIMEOUT = 10.0
_CLONE_NEWNET = 0x40000000


def _setns(descriptor: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(descriptor, _CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")


@contextmanager
def on(lab: Lab, host: str | None = None) -> Iterator[None]:
    """During the block, this thread's sockets are in `host`; in a machine beside the hosts when it is None."""
    assert not monkey.is_module_patched("threading"), "gevent has made one of all threads: run tests/cluster by itself"
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


class _Here:
    """Connects from this thread's network namespace."""

    def dial(self, address: str, port: int, timeout: float) -> socket.socket:
        return socket.create_connection((address, port), timeout=timeout)


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
    terms = authority and Terms(
        trust=authority,
        identity=identity,
        server_name=server_name or "",
        lowest=min(highest, ssl.TLSVersion.TLSv1_2),
        highest=highest,
    )
    return tls_probe.ask(
        _Here(), address, port, path, terms=terms or None, method=method, body=body, headers=headers, timeout=timeout
    )


@dataclass(frozen=True, kw_only=True)
class Api:
    """The API as clients on a host reach it: https://127.0.0.1:6443, an apiserver or a load balancer."""

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
        """The object at `path`; AssertionError when the API does not return it."""
        answer = self.ask(path)
        assert answer.status == 200, f"GET {path} on {self.host}: {answer}"
        return answer.json

    def create(self, path: str, body: object) -> Any:
        """The acknowledged object; AssertionError when there was no acknowledgement."""
        answer = self.ask(path, "POST", body)
        assert answer.status == 201, f"POST {path} on {self.host}: {answer}"
        return answer.json
