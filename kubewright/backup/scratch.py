"""Folders for a while, with keys or data in plain text: those that a killed run has left are removed by the next one."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def scratch(folder: Path, prefix: str) -> Iterator[Path]:
    """A new folder (0700) below `folder`, removed with the block. Others with `prefix` that nobody holds are removed first.

    It is held by `flock`, which ends with the process. OSError when it can't be made.
    """
    for left in folder.glob(f"{prefix}*"):
        _remove(left)
    made = Path(tempfile.mkdtemp(dir=folder, prefix=prefix))
    held = os.open(made, os.O_RDONLY | os.O_DIRECTORY)
    try:
        # A file system without locks removes nothing: nobody could tell who uses it.
        with suppress(OSError):
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)
        os.close(held)


def _remove(left: Path) -> None:
    """Unless it is held, or somebody else's."""
    try:
        held = os.open(left, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return
    try:
        if os.fstat(held).st_uid == os.getuid():
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(left, ignore_errors=True)
    except OSError:
        pass
    finally:
        os.close(held)
