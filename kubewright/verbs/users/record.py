"""`users.json` beside the inventory: every credential that was issued, and when it was revoked. It has no secrets.

The cluster decides about present rights. This file records facts that the cluster cannot keep: issued certificates, and
revoked users, in case a restored snapshot of etcd brings their rights back.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from kubewright import disk
from kubewright.errors import Failed
from kubewright.verbs.users.credential import Kind
from pki.store import Store

FILE = "users.json"


@dataclass(frozen=True, kw_only=True)
class Issued:
    """One credential. Times as RFC 3339; `certificate` is PEM, empty for a token; `signed_by` as in `signers`."""

    name: str
    kind: Kind
    id: str
    groups: tuple[str, ...]
    grants: tuple[tuple[str, str], ...]
    issued: str
    expires: str
    revoked: str = ""
    certificate: str = ""
    signed_by: tuple[str, ...] = ()


def read(inventory: Path) -> tuple[Issued, ...]:
    """All of them, the oldest first. Failed when the file is not one of ours."""
    path = inventory / FILE
    try:
        rows = json.loads(path.read_text())
        return tuple(Issued(**{**row, **_tuples(row)}) for row in rows)
    except FileNotFoundError:
        return ()
    except (ValueError, TypeError, KeyError) as error:
        raise Failed(f"{path}: can't be read ({error}); restore it from git or a backup") from error


def _tuples(row: dict[str, Any]) -> dict[str, tuple[Any, ...]]:
    grants = tuple((namespace, role) for namespace, role in row["grants"])
    return {"groups": tuple(row["groups"]), "grants": grants, "signed_by": tuple(row.get("signed_by", ()))}


def add(inventory: Path, issued: Issued) -> None:
    with Store(inventory).locked():
        _write(inventory, (*read(inventory), issued))


def mark_revoked(inventory: Path, name: str, when: str) -> None:
    """Every credential of `name` that is not revoked yet."""
    with Store(inventory).locked():
        rows = read(inventory)
        marked = tuple(replace(row, revoked=when) if row.name == name and not row.revoked else row for row in rows)
        if marked != rows:
            _write(inventory, marked)


def _write(inventory: Path, rows: tuple[Issued, ...]) -> None:
    content = json.dumps([vars(row) for row in rows], indent=1).encode()
    disk.replace(inventory / FILE, content + b"\n", mode=0o644)
