"""Certificates that an external CA signs: requests are written, signed certificates are checked and imported.

A leaf's key is made here, at the time of its request, and stays in the private store: under `request/<leaf>`, whose row
holds the request, until the certificate comes.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from kubewright.errors import BadInput, Problem
from pki import certificates, faults, keys
from pki.decisions import Decision, Leaf, Policy, Verdict, differing
from pki.fault import Fault
from pki.store import Entry, Store

PREFIX = "request/"
SUFFIXES = (".crt", ".pem", ".cer", ".cert")
"""Files of a folder that count as certificates."""


def wanted(leaves: Iterable[Leaf], decisions: Iterable[Decision]) -> tuple[Leaf, ...]:
    """The leaves that an external CA must sign, renewals included."""
    due = {d.name for d in decisions if d.verdict in (Verdict.REQUEST, Verdict.AWAIT)}
    return tuple(leaf for leaf in leaves if leaf.name in due)


def prepare(leaves: Sequence[Leaf], store: Store, policy: Policy) -> dict[str, bytes]:
    """Requests (PEM) for `leaves` by their names. An existing request is returned again while it still fits; unneeded
    requests are removed from the store. Call it under the store's lock."""
    new, kept = {}, set()
    for leaf in leaves:
        name = PREFIX + leaf.name
        if name in store.entries and _asks_for(store.entries[name], leaf, policy):
            kept.add(name)
            continue
        key = keys.generate(policy.algorithm)
        new[name] = (certificates.request(leaf.subject, key).public_bytes(Encoding.PEM), keys.to_pem(key))
    stale = [name for name in store.entries if name.startswith(PREFIX) and name not in kept]
    if new or stale:
        store.change(remove=stale, add=new)
    return {leaf.name: store.certificate(PREFIX + leaf.name) for leaf in leaves}


def _asks_for(entry: Entry, leaf: Leaf, policy: Policy) -> bool:
    asked = x509.load_pem_x509_csr(entry.certificate.encode())
    return not differing(asked, leaf.subject) and keys.algorithm_of(asked.public_key()) == policy.algorithm


def write(folder: Path, requests: Mapping[str, bytes], leaves: Iterable[Leaf]) -> tuple[Path, ...]:
    """One file per request, in a folder for each authority: `etcd/etcd-server.m1.csr`."""
    paths = []
    for leaf in leaves:
        path = folder / leaf.authority.removeprefix("ca/") / f"{leaf.name.replace('/', '.')}.csr"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(requests[leaf.name])
        paths.append(path)
    return tuple(paths)


def take_in(paths: Iterable[Path], leaves: Iterable[Leaf], store: Store, now: dt.datetime) -> tuple[str, ...]:
    """Keep the certificates in `paths` (files, or folders of them) for the requests whose keys they name; the leaves' names.
    BadInput with all faults, and nothing kept. Call it under the store's lock."""
    pending, known = _pending(leaves, store), _known(store)
    found: dict[str, bytes] = {}
    problems: list[Problem] = []
    for path in _files(paths, problems):
        chain = faults.read_certificates(path.read_bytes())
        if isinstance(chain, Fault):
            problems.append(_problem(path, chain))
            continue
        for certificate in chain:
            public = faults.public_sum(certificate)
            if public not in pending:
                if public not in known and certificate == chain[0]:
                    problems.append(_problem(path, _unasked(certificate)))
                continue
            leaf = pending[public]
            authority = store.certificate(leaf.authority)
            wrong = list(faults.of_leaf(certificate, leaf.subject, certificates.from_pem(authority), now))
            problems += [_problem(path, fault) for fault in wrong]
            found[leaf.name] = certificates.to_pem(certificate) + certificates.below_root(authority)
    if problems:
        raise BadInput(problems)
    if found:
        rows = {name: (pem, store.key(PREFIX + name)) for name, pem in found.items()}
        store.change(remove=[PREFIX + name for name in found], add=rows)
    return tuple(found)


def _pending(leaves: Iterable[Leaf], store: Store) -> dict[bytes, Leaf]:
    rows = {leaf: store.entries.get(PREFIX + leaf.name) for leaf in leaves}
    return {
        faults.public_sum(x509.load_pem_x509_csr(row.certificate.encode())): leaf for leaf, row in rows.items() if row is not None
    }


def _known(store: Store) -> set[bytes]:
    """Public keys that the store already has: earlier imports, and authorities in the same file."""
    pems = [e.certificate.encode() for e in store.entries.values() if "BEGIN CERTIFICATE-----" in e.certificate]
    return {faults.public_sum(c) for pem in pems for c in x509.load_pem_x509_certificates(pem)}


def _files(paths: Iterable[Path], problems: list[Problem]) -> Iterator[Path]:
    for path in paths:
        if path.is_dir():
            inside = sorted(p for p in path.rglob("*") if p.suffix in SUFFIXES and p.is_file())
            if not inside:
                what, allowed = "a folder without certificates", f"files that end in {', '.join(SUFFIXES)}"
                problems.append(_problem(path, Fault(what=what, allowed=allowed, todo="name the files themselves")))
            yield from inside
        elif path.is_file():
            yield path
        else:
            fault = Fault(what="no such file", allowed="signed certificates, PEM", todo="correct the path")
            problems.append(_problem(path, fault))


def _unasked(certificate: x509.Certificate) -> Fault:
    return Fault(
        what=f"a certificate that was not asked for ({certificate.subject.rfc4514_string()}): no request has its key",
        allowed="answers to the last `kubewright certs requests`",
        todo="have the request signed that it wrote last",
    )


def _problem(path: Path, fault: Fault) -> Problem:
    return Problem(where=str(path), what=fault.what, allowed=fault.allowed, todo=fault.todo)
