"""The copy of the lineage record beside the inventory. It holds nothing secret, and may lie in git."""

from __future__ import annotations

from pathlib import Path

from kubewright import disk
from kubewright.errors import Failed
from kubewright.model.lineage import FILE, Lineage, Unreadable, parse


def read(inventory: Path) -> Lineage | None:
    """The copy, None where there is none. Failed when it can't be read."""
    path = inventory / FILE
    try:
        return parse(path.read_text())
    except FileNotFoundError:
        return None
    except (OSError, Unreadable) as error:
        raise Failed(
            f"{path}: can't be read: {error}; get it back from git or a backup, or remove it: the hosts have it too"
        ) from error


def write(inventory: Path, record: Lineage) -> None:
    """Replace the copy, unless it is the same."""
    path, content = inventory / FILE, record.text().encode()
    if not path.exists() or path.read_bytes() != content:
        disk.replace(path, content, mode=0o644)


def remove(inventory: Path) -> None:
    """Remove the copy: its cluster is no more."""
    (inventory / FILE).unlink(missing_ok=True)
