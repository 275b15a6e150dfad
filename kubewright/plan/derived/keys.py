"""Only its owner reads a private key, everybody may read a certificate, and only root writes where they lie.

The modes and owners are those that the roles want (`Context.key_pair`, `Context.secret`), so `apply` corrects them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from kubewright.model.certificates import ROWS, Row
from kubewright.model.cluster import Node
from kubewright.observe.observed import Entry
from kubewright.plan.derived.files import KINDS, asked
from kubewright.plan.key_places import SERVICE_ACCOUNT_KEY
from kubewright.plan.role import Check
from pki import encryption

_BARE = {SERVICE_ACCOUNT_KEY: "kubewright certs rotate-service-account", encryption.PATH: "kubewright encryption rotate"}
"""Keys without a certificate, which lie on masters, and how each is replaced."""


@dataclass(frozen=True, kw_only=True)
class _Wanted:
    """A folder, a certificate or a key."""

    path: str
    kind: str = "f"
    owner: str = "root"
    mode: int
    replaced: str = ""
    """Of a key: how it is replaced."""


def _pair(row: Row) -> tuple[_Wanted, _Wanted]:
    # There is no revocation list: a key that was read is accepted until its authority is replaced, or its certificate ends.
    replaced = f"kubewright certs rotate-ca {row.authority.name.removeprefix('ca/')}"
    key = _Wanted(path=f"{row.path}.key", owner=row.owner, mode=0o600, replaced=replaced)
    return key, _Wanted(path=f"{row.path}.crt", mode=0o644)


def _wanted(node: Node) -> dict[str, list[_Wanted]]:
    """By folder: itself and what lies in it."""
    files = [wanted for row in ROWS.values() if row.on(node) for wanted in _pair(row)]
    files += [_Wanted(path=path, mode=0o600, replaced=replaced) for path, replaced in _BARE.items() if node.is_master]
    found: dict[str, list[_Wanted]] = {}
    for file in files:
        folder = str(PurePosixPath(file.path).parent)
        found.setdefault(folder, [_Wanted(path=folder, kind="d", mode=0o755)]).append(file)
    return found


def paths(node: Node) -> tuple[str, ...]:
    """Everything that `checks` looks at."""
    return tuple(wanted.path for some in _wanted(node).values() for wanted in some)


def checks(node: Node, question: str) -> Iterator[Check]:
    """One for each folder. `question`: about the host's files, `paths` among them."""
    return (_check(folder, some, question) for folder, some in _wanted(node).items())


def _check(folder: str, some: list[_Wanted], question: str) -> Check:
    def run(host: Any, _plan: object, _node: object) -> None:
        there = asked(host, question).there
        found = [problem for wanted in some if (problem := _problem(wanted, there.get(wanted.path)))]
        assert not found, "; ".join(found)

    return Check(title=f"only owners read the keys in {folder}, only root writes there", run=run)


def _problem(wanted: _Wanted, entry: Entry | None) -> str:
    if not entry:
        return f"{wanted.path} is missing; kubewright apply writes it"
    if entry.kind != wanted.kind:
        return f"{wanted.path} is no {KINDS[wanted.kind]}; remove it, then kubewright apply writes it"
    if (entry.owner, entry.mode) == (wanted.owner, wanted.mode):
        return ""
    leak = f"; if somebody else may have read the key, replace it: {wanted.replaced}"
    return (
        f"{wanted.path} has the owner {entry.owner} and the mode {entry.mode:04o}, "
        f"expected: {wanted.owner} and {wanted.mode:04o}; kubewright apply corrects it"
        f"{leak if wanted.replaced and entry.mode & 0o077 else ''}"
    )
