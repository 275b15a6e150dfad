"""The certificate that each TLS listener of a cluster serves now, asked from its own host."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import gevent
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from kubewright.model.certificates import ROWS
from kubewright.model.cluster import Plan
from kubewright.plan.edges import Endpoint, endpoints
from kubewright.plan.role import Role
from kubewright.tls.probe import TIMEOUT, Dials, served


@dataclass(frozen=True, kw_only=True)
class Shown:
    """The certificate that one listener serves. `name` is the store's name of the expected one.

    `fingerprint` is the SHA-256 of the DER in lower-case hex, empty when there was no answer; `broken` says why.
    """

    name: str
    fingerprint: str = ""
    not_after: dt.datetime | None = None
    issuer: str = ""
    broken: str = ""


def serving(
    hosts: Mapping[str, Dials], plan: Plan, roles: Sequence[Role], *, timeout: float = TIMEOUT
) -> dict[str, dict[int, Shown]]:
    """By host and port, for `hosts`. Load balancers have no certificate: the one behind them is a master's.

    `timeout`: seconds without a byte.
    """
    ports = {(e.host, e.port): e for e in endpoints(plan, roles) if e.host in hosts and ROWS[e.tls.row].on(plan.node(e.host))}
    jobs = {key: gevent.spawn(_shown, hosts[key[0]], plan, endpoint, timeout) for key, endpoint in ports.items()}
    gevent.joinall(list(jobs.values()), raise_error=True)
    found: dict[str, dict[int, Shown]] = {}
    for (host, port), job in jobs.items():
        found.setdefault(host, {})[port] = job.value
    return found


def fingerprints(found: Mapping[str, Mapping[int, Shown]]) -> dict[str, dict[int, str]]:
    """Host -> port -> SHA-256, of the listeners that answered."""
    return {host: {port: s.fingerprint for port, s in ports.items() if s.fingerprint} for host, ports in found.items()}


def _shown(host: Dials, plan: Plan, endpoint: Endpoint, timeout: float) -> Shown:
    name = ROWS[endpoint.tls.row].stored(plan.node(endpoint.host))
    answer = served(host, endpoint.address, endpoint.port, timeout=timeout)
    if not answer.chain:
        return Shown(name=name, broken=answer.broken)
    leaf = x509.load_der_x509_certificate(answer.leaf)
    return Shown(
        name=name,
        fingerprint=leaf.fingerprint(hashes.SHA256()).hex(),
        not_after=leaf.not_valid_after_utc,
        issuer=leaf.issuer.rfc4514_string(),
    )
