"""A file is replaced atomically, and only its owner can read it before its end."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from kubewright import disk


def test_a_write_that_fails_leaves_the_old_file_and_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    disk.replace(path, b"old")

    def full(_descriptor: int) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="no space"):
        disk.replace(path, b"new")
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_a_file_is_on_the_disk_before_its_folder_is_and_both_at_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced = []

    def fsync(descriptor: int) -> None:
        what = Path(f"/proc/self/fd/{descriptor}").readlink()
        synced.append((what.is_dir(), (tmp_path / "file").exists()))

    monkeypatch.setattr(os, "fsync", fsync)
    disk.replace(tmp_path / "file", b"new")
    assert synced == [(False, False), (True, True)]


def test_until_its_end_only_the_owner_can_read_a_file_and_the_old_one_stays(tmp_path: Path) -> None:
    path = tmp_path / "file"
    disk.replace(path, b"old")
    with disk.replacing(path, mode=0o644) as file:
        (made,) = (p for p in tmp_path.iterdir() if p != path)
        assert stat.S_IMODE(made.stat().st_mode) == 0o600
        file.write(b"new")
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new" and stat.S_IMODE(path.stat().st_mode) == 0o644


def test_a_block_that_raises_leaves_only_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    disk.replace(path, b"old")
    with pytest.raises(KeyboardInterrupt), disk.replacing(path) as file:
        file.write(b"half")
        raise KeyboardInterrupt
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
