"""External CAs: checks of their files, and that the store has the same CA."""

from __future__ import annotations

import datetime as dt
import stat
from collections.abc import Iterator
from pathlib import Path

from cryptography import x509

from kubewright.spec.checks.reading import content_of
from kubewright.spec.model import ClusterSpec
from kubewright.spec.sections import Pki
from kubewright.spec.wording import Finding, Place, shown
from pki import certificates, faults
from pki.decisions import Given
from pki.fault import Fault
from pki.store import Entry, Store
from pki.trust import DROPPED, NEXT, PREVIOUS

NAMES = {"kubernetes": "kubernetes_ca", "etcd": "etcd_ca", "front-proxy": "front_proxy_ca"}
"""Authorities by their settings; the key's setting ends in `_key`."""


def external_cas(pki: Pki) -> dict[str, Given]:
    """The external CAs of a spec without findings, by their rows in the store (`ca/etcd`)."""
    found = {}
    for name, setting in NAMES.items():
        path, key = getattr(pki, setting), getattr(pki, f"{setting}_key")
        if path is not None:
            chain = faults.read_certificates(path.read_bytes())
            assert not isinstance(chain, Fault), "the spec was checked"
            pem = b"".join(certificates.to_pem(c) for c in chain)
            found[f"ca/{name}"] = Given(certificate=pem, key=key)
    return found


def findings(spec: ClusterSpec, folder: Path, rotating: str = "") -> Iterator[Finding]:
    """All problems with them. `folder` is the inventory's; its index lists the CAs in the store.

    `rotating`: the row whose CA may differ from the spec's.
    """
    entries = Store(folder).entries if any(getattr(spec.pki, setting) for setting in NAMES.values()) else {}
    own: dict[bytes, str] = {}
    above: dict[bytes, str] = {}
    for name, setting in NAMES.items():
        at, path, key = ("pki", setting), getattr(spec.pki, setting), getattr(spec.pki, f"{setting}_key")
        if path is None:
            if key is not None:
                yield Finding(
                    at=("pki", f"{setting}_key"),
                    what=f"a key without its certificate ({shown(str(key), limit=200)})",
                    allowed=f"together with {setting}",
                    todo=f"add `{setting}:`",
                )
            continue
        chain = _chain(path)
        if isinstance(chain, Fault):
            yield _finding(at, path, chain)
            continue
        yield from (_finding(at, path, fault) for fault in faults.of_authority(chain, dt.datetime.now(dt.UTC)))
        if rotating != f"ca/{name}":
            yield from _another(at, path, name, chain[0], entries)
        sums = [faults.public_sum(c) for c in chain]
        if other := above.get(sums[0]) or next((own[each] for each in sums if each in own), ""):
            yield _finding(at, path, _same(other))
        own[sums[0]] = setting
        above |= dict.fromkeys(sums[1:], setting)
        if key is not None:
            yield from _key(("pki", f"{setting}_key"), key, chain[0], _rows(name, entries))


def warnings(spec: ClusterSpec) -> Iterator[Finding]:
    """Warnings about CAs that work, but that some clients refuse. For a spec without findings."""
    for setting in NAMES.values():
        path = getattr(spec.pki, setting)
        if path is not None:
            chain = _chain(path)
            assert not isinstance(chain, Fault), "the spec was checked"
            yield from (_finding(("pki", setting), path, fault) for fault in faults.warnings_of_authority(chain))


def _chain(path: Path) -> tuple[x509.Certificate, ...] | Fault:
    content = content_of(path)
    return content if isinstance(content, Fault) else faults.read_certificates(content)


def _same(other: str) -> Fault:
    return Fault(
        what=f"the same authority as {other}, or one above or below it",
        allowed="three apart: who trusts the upper one accepts all that the lower one signs",
        todo="issue one more below the same root, or leave this out and kubewright makes it",
    )


def _another(at: Place, path: Path, name: str, own: x509.Certificate, entries: dict[str, Entry]) -> Iterator[Finding]:
    rows = _rows(name, entries)
    if rows and not any(_is(own, row) for row in rows):
        yield _finding(
            at,
            path,
            Fault(
                what=f"another authority than the cluster has ({own.subject.rfc4514_string()})",
                allowed="the one in certificates.json: apply never replaces an authority",
                todo=f"remove this line; or change over to it: kubewright certs rotate-ca {name}",
            ),
        )


def _rows(name: str, entries: dict[str, Entry]) -> list[Entry]:
    """The CA in the store, the next one, and the one that a rotation removes."""
    wanted = (f"ca/{name}", *(f"ca/{name}/{suffix}" for suffix in (NEXT, PREVIOUS, DROPPED)))
    return [entries[row] for row in wanted if row in entries]


def _is(own: x509.Certificate, row: Entry) -> bool:
    return own == certificates.from_pem(row.certificate.encode())


def _key(at: Place, path: Path, certificate: x509.Certificate, rows: list[Entry]) -> Iterator[Finding]:
    if any(row.key_sha256 for row in rows if _is(certificate, row)):
        return  # in the store already: the file may be missing
    content = content_of(path)
    if isinstance(content, Fault):
        yield _finding(at, path, content)
        return
    if mode := stat.S_IMODE(path.stat().st_mode) & 0o077:
        others = Fault(what=f"a key that others can read (mode {mode:04o})", allowed="mode 0600", todo=f"chmod 0600 {path}")
        yield _finding(at, path, others)
    yield from (_finding(at, path, fault) for fault in faults.of_key(content, certificate))


def _finding(at: Place, path: Path, fault: Fault) -> Finding:
    return Finding(at=at, what=f"{fault.what} ({shown(str(path), limit=200)})", allowed=fault.allowed, todo=fault.todo)
