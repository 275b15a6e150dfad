"""The backups of a cluster in a folder: their names, and which of them are removed. `--keep` counts whole backups only."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from pathlib import Path

from kubewright.errors import Failed

FOLDER = "backups"
"""Beside cluster.yaml, unless `--to` names another."""
_NAME = re.compile(r"(?P<cluster>[a-z0-9-]+)-(?P<taken>\d{8}T\d{6}Z)\.backup\.age")


@dataclass(frozen=True, kw_only=True, order=True)
class Listed:
    """`taken` as in the name, so that the order is that of time. `size` in bytes."""

    taken: str
    cluster: str
    path: Path
    size: int


def name(cluster: str, now: float) -> str:
    return f"{cluster}-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime(now))}.backup.age"


def listed(folder: Path, cluster: str) -> list[Listed]:
    """The backups of that cluster, the newest first."""
    found = []
    for path in folder.glob("*.backup.age"):
        if (parts := _NAME.fullmatch(path.name)) and parts["cluster"] == cluster and path.is_file():
            found.append(Listed(taken=parts["taken"], cluster=cluster, path=path, size=path.stat().st_size))
    return sorted(found, reverse=True)


def remove_old(folder: Path, cluster: str, keep: int, *, new: Path) -> list[Path]:
    """Remove all but `new` and the newest others, so that `keep` of that cluster stay. Returns the removed files.

    `new` stays even where the names of others are later: the clock may have been wrong then, or may be now. Failed when one
    can't be removed.
    """
    others = [old.path for old in listed(folder, cluster) if old.path.name != new.name]
    gone = others[max(keep - 1, 0) :]
    for path in gone:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise Failed(f"{path}: can't be removed ({error.strerror}); {new} is whole; remove the old ones by hand") from error
    return gone
