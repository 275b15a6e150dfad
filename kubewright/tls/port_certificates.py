"""Whether each TLS port of a cluster serves the certificate on its host's disk, and whether that has expired."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import gevent
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from kubewright.errors import Failed
from kubewright.model.certificates import ROWS
from kubewright.model.cluster import Plan
from kubewright.plan.edges import endpoints
from kubewright.plan.role import Role
from kubewright.tls.probe import Dials
from kubewright.tls.serving import Shown, serving

_SERVED_SECONDS = 5.0


class Asked(Dials, Protocol):
    """A host: connections from it, and its files."""

    def read(self, paths: Sequence[str]) -> Mapping[str, bytes]: ...


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One port. `message` is the fault; `skipped` says why the port could not be asked."""

    host: str
    role: str
    title: str
    message: str = ""
    skipped: str = ""


@dataclass(frozen=True, kw_only=True)
class _Port:
    role: str
    number: int
    path: str
    """The certificate's path on the host, without its ending."""


def findings(hosts: Mapping[str, Asked], plan: Plan, roles: Sequence[Role]) -> list[Finding]:
    """One result for each TLS port of `hosts`; one for a host that could not be asked."""
    jobs = [gevent.spawn(_host, name, host, plan, roles) for name, host in hosts.items()]
    gevent.joinall(jobs, raise_error=True)
    return [finding for job in jobs for finding in job.value]


def _ports(name: str, plan: Plan, roles: Sequence[Role]) -> Iterator[_Port]:
    seen = set()
    for e in endpoints(plan, roles):
        row = ROWS[e.tls.row]
        if e.host == name and row.on(plan.node(name)) and e.port not in seen:
            seen.add(e.port)
            yield _Port(role=e.role, number=e.port, path=row.path)


def _host(name: str, host: Asked, plan: Plan, roles: Sequence[Role]) -> list[Finding]:
    ports = list(_ports(name, plan, roles))
    try:
        shown = serving({name: host}, plan, roles, timeout=_SERVED_SECONDS).get(name, {})
        files = host.read([f"{port.path}.crt" for port in ports])
    except Failed as error:
        return [Finding(host=name, role="certificates", title="ports serve the certificates on disk", skipped=str(error))]
    now = dt.datetime.now(dt.UTC)
    return [
        Finding(
            host=name,
            role=port.role,
            title=f"port {port.number} serves the certificate on disk",
            message=judged(shown[port.number], files.get(f"{port.path}.crt", b""), f"{port.path}.crt", now),
        )
        for port in ports
    ]


def judged(shown: Shown, file: bytes, path: str, now: dt.datetime) -> str:
    """The fault of the served certificate, which should be `file`; empty: none."""
    if not shown.fingerprint:
        return f"it serves no certificate: {shown.broken}; look at the component's log (journalctl) on this host"
    try:
        leaf = x509.load_pem_x509_certificate(file)
    except ValueError:
        return f"{path} is missing or holds no certificate; write it again: kubewright apply"
    if leaf.fingerprint(hashes.SHA256()).hex() != shown.fingerprint:
        until = f"{shown.not_after:%Y-%m-%d %H:%M}" if shown.not_after else "unknown"
        return f"it serves another certificate (valid until {until} UTC) than {path}; restart the component on this host"
    if shown.not_after is not None and shown.not_after <= now:
        return f"its certificate expired {shown.not_after:%Y-%m-%d %H:%M} UTC; kubewright certs renew"
    return ""
