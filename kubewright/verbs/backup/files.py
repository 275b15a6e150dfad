"""What lies beside cluster.yaml and belongs into a backup. Logins do not: a backup is for the cluster, not for its operator."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel

from kubewright.backup.manifest import INVENTORY
from kubewright.model.lineage import FILE as LINEAGE
from kubewright.run import journal
from kubewright.spec import ClusterSpec
from kubewright.spec.addons import FOLDER as BUILT_IN
from kubewright.spec.load import FILE
from kubewright.verbs.users.record import FILE as USERS
from pki.store import INDEX, PRIVATE

OWN = (FILE, INDEX, PRIVATE, LINEAGE, USERS, "artifacts.lock", "known_hosts", "inventory.py")
LOGINS = ("key", "sudo_password_file", "password_file")
"""Settings whose files open something: a backup that held them would open more than the cluster."""
LARGE = ("directory", "archives")
"""Settings whose files can be made again."""
_FOLDER_LIMIT = 16 << 20


def collected(inventory: Path, spec: ClusterSpec) -> tuple[dict[str, Path], tuple[str, ...]]:
    """The files by their names in a backup, and those that cluster.yaml names and that are left out."""
    inventory = inventory.absolute()
    found = [inventory / name for name in OWN]
    found += sorted((inventory / journal.FOLDER).glob("*.jsonl"))
    left_out: dict[str, None] = {}
    for setting, path in _named(spec):
        inside = path.is_relative_to(inventory)
        if path.is_relative_to(BUILT_IN):
            continue
        if setting in (*LOGINS, *LARGE) or not inside:
            left_out[str(path.relative_to(inventory) if inside else path)] = None
        elif path.is_dir():
            files = sorted(p for p in path.rglob("*") if p.is_file())
            if sum(p.stat().st_size for p in files) > _FOLDER_LIMIT:
                left_out[str(path.relative_to(inventory))] = None
            else:
                found += files
        else:
            found.append(path)
    names = {INVENTORY + str(path.relative_to(inventory)): path for path in found if path.is_file()}
    return names, tuple(name for name in left_out if INVENTORY + name not in names)


def _named(value: object, setting: str = "") -> Iterator[tuple[str, Path]]:
    """Every path in a spec, with the name of its setting."""
    if isinstance(value, Path):
        yield setting, value
    elif isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from _named(getattr(value, name), name)
    elif dataclasses.is_dataclass(value):
        for each in dataclasses.fields(value):
            yield from _named(getattr(value, each.name), each.name)
    elif isinstance(value, dict):
        for name, below in value.items():
            yield from _named(below, str(name))
    elif isinstance(value, tuple | list):
        for one in value:
            yield from _named(one, setting)
