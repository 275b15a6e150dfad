"""Folders with secrets: they are gone with their run, or with the next one after a kill; a running one keeps its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from kubewright.backup.scratch import scratch

_KILLED = """import os, sys, pathlib
from kubewright.backup.scratch import scratch
with scratch(pathlib.Path(sys.argv[1]), ".taking-a-") as made:
    (made / "etcd.db").write_text("secret")
    os.kill(os.getpid(), 9)
"""


def test_what_a_killed_run_left_is_removed_by_the_next(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", _KILLED, str(tmp_path)], check=False)
    (left,) = tmp_path.iterdir()
    assert done.returncode == -9 and (left / "etcd.db").exists()
    with scratch(tmp_path, ".taking-a-") as made:
        assert [*tmp_path.iterdir()] == [made] and made.stat().st_mode & 0o777 == 0o700


def test_a_running_one_and_others_folders_stay(tmp_path: Path) -> None:
    (tmp_path / ".taking-b-1").mkdir()
    (tmp_path / ".taking-a-link").symlink_to(tmp_path / ".taking-b-1")
    with scratch(tmp_path, ".taking-a-") as first, scratch(tmp_path, ".taking-a-") as second:
        assert first.is_dir() and second.is_dir() and first != second
    assert {path.name for path in tmp_path.iterdir()} == {".taking-b-1", ".taking-a-link"}


def test_it_is_removed_when_the_run_fails(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no"), scratch(tmp_path, ".x-") as made:
        (made / "deep").mkdir()
        raise ValueError("no")
    assert not [*tmp_path.iterdir()]
