"""Places of private keys on a host, compared with the certificate table. Pure.

Keys are compared by their sums: this finds a copy of a key in any managed folder of any host, and a key that no row names.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from kubewright.model.certificates import ROWS
from kubewright.model.cluster import Node, Plan
from kubewright.observe.observed import Observed
from pki import encryption
from pki.authorities import SERVICE_ACCOUNT
from pki.store import Entry

SERVICE_ACCOUNT_KEY = "/etc/kubernetes/pki/sa.key"


def places(plan: Plan) -> dict[str, frozenset[tuple[str, str]]]:
    """Allowed hosts and paths of each key of the store, by its name. A key without an entry belongs on no host."""
    found = {
        row.stored(node): frozenset({(node.name, f"{row.path}.key")})
        for row in ROWS.values()
        for node in plan.nodes
        if row.on(node)
    }
    on_masters = {SERVICE_ACCOUNT: SERVICE_ACCOUNT_KEY, encryption.ROW: encryption.PATH}
    return {**found, **{name: frozenset((n.name, path) for n in plan.masters) for name, path in on_masters.items()}}


def problems(plan: Plan, node: Node, host: Observed, certificates: Mapping[str, Entry]) -> tuple[str, ...]:
    """The faults of the keys on `host`. `certificates` is the store's index."""
    return tuple(_problems(places(plan), node, host, certificates))


def _problems(
    allowed: Mapping[str, frozenset[tuple[str, str]]], node: Node, host: Observed, certificates: Mapping[str, Entry]
) -> Iterator[str]:
    # A row without a key must not match an entry without a sum (a folder).
    names = {entry.key_sha256: name for name, entry in certificates.items() if entry.key_sha256}
    paths = {path for put in allowed.values() for on, path in put if on == node.name}
    for path, entry in sorted(host.entries.items()):
        name = names.get(entry.sha256)
        if name and (node.name, path) not in allowed.get(name, frozenset()):
            yield f"{path} is the private key of {name}, which may not lie there"
        elif path.endswith(".key") and entry.kind == "f" and path not in paths:
            yield f"{path} is a private key that no certificate of this host has"
        if path in paths and entry.mode & 0o077:
            yield f"{path} can be read by others (mode {entry.mode:04o})"
