"""Files on this machine: atomic replacement that survives a power cut, and the path of the cache."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO


@contextlib.contextmanager
def replacing(path: Path, *, mode: int = 0o600) -> Iterator[IO[bytes]]:
    """A new file, which becomes `path` with `mode` at the end of the block. Until then only its owner can read it.

    When the block raises, the new file is removed and `path` stays as it was. OSError when it cannot be written.
    """
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fchmod(file.fileno(), mode)
        move(Path(temporary), path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def replace(path: Path, content: bytes, *, mode: int = 0o600) -> None:
    """Replace `path`; a missing folder is made, for its owner only. OSError when it cannot be written."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with replacing(path, mode=mode) as file:
        file.write(content)


def move(source: Path, path: Path) -> None:
    """`source` becomes `path`, in the same file system. Both its content and its name are on the disk then."""
    with source.open("rb") as file:
        os.fsync(file.fileno())
    source.replace(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def cache_root() -> Path:
    """$KUBEWRIGHT_CACHE, else kubewright/ in $XDG_CACHE_HOME or ~/.cache."""
    if named := os.environ.get("KUBEWRIGHT_CACHE"):
        return Path(named)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "kubewright"
