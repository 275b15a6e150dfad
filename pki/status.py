"""Every certificate of the store for a table: its expiry, and its places. Pure."""

from __future__ import annotations

import datetime as dt
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from pki.store import Entry
from pki.trust import DROPPED, FORMER

Served = Mapping[str, Mapping[int, str]]
"""The certificates that listeners serve now: host -> port -> SHA-256 of the certificate (DER), hex."""


@dataclass(frozen=True, kw_only=True)
class Line:
    """One certificate. `kind`: `authority`, `leaf`, or `operator` for those that are on no host. `key_here` is false for an
    authority whose key is kept elsewhere."""

    name: str
    kind: str
    subject: str
    issuer: str
    serial: str
    not_before: dt.datetime
    not_after: dt.datetime
    days_left: int
    fingerprint: str
    key_here: bool

    def expires_within(self, days: int) -> bool:
        return self.days_left < days


def lines(entries: Mapping[str, Entry], now: dt.datetime) -> tuple[Line, ...]:
    """Authorities (during a rotation, each of their rows), then leaves, by their names in the store. Without bare key pairs
    and requests, which have no expiry, and without dropped authorities."""
    shown = {name: entry for name, entry in entries.items() if not name.endswith((f"/{DROPPED}", f"/{FORMER}"))}
    found = [_line(name, entry, now) for name, entry in shown.items() if "BEGIN CERTIFICATE-----" in entry.certificate]
    return tuple(sorted(found, key=lambda line: (line.kind != "authority", line.name)))


def of_gone_hosts(found: Iterable[Line], planned: Container[str]) -> tuple[Line, ...]:
    """The leaves that are not in the plan (`planned`: the planned names): of removed hosts, or of a host's removed roles.
    They are neither renewed nor revoked."""
    return tuple(line for line in found if line.kind == "leaf" and line.name not in planned)


def _line(name: str, entry: Entry, now: dt.datetime) -> Line:
    certificate = x509.load_pem_x509_certificate(entry.certificate.encode())
    kind = "authority" if name.startswith("ca/") else "leaf" if "/" in name else "operator"
    return Line(
        name=name,
        kind=kind,
        subject=certificate.subject.rfc4514_string(),
        issuer=certificate.issuer.rfc4514_string(),
        serial=f"{certificate.serial_number:x}",
        not_before=certificate.not_valid_before_utc,
        not_after=certificate.not_valid_after_utc,
        days_left=(certificate.not_valid_after_utc - now).days,
        fingerprint=certificate.fingerprint(hashes.SHA256()).hex(),
        key_here=bool(entry.key_sha256),
    )


def serves(line: Line, hosts: list[str], served: Served) -> tuple[str, ...]:
    """The listeners that serve `line` now, as `host:port`. `hosts` are the certificate's hosts."""
    return tuple(f"{h}:{port}" for h in hosts for port, print_ in served.get(h, {}).items() if print_ == line.fingerprint)


def unknown(found: tuple[Line, ...], served: Served) -> tuple[str, ...]:
    """Listeners that serve a certificate outside the store (mostly an older one), as `host:port`."""
    known = {line.fingerprint for line in found}
    return tuple(f"{host}:{port}" for host, ports in served.items() for port, print_ in ports.items() if print_ not in known)
