"""The store's files: their permissions, and their state after a killed run."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kubewright import disk
from kubewright.errors import Failed
from pki.store import INDEX, PRIVATE, Store

ONE = {"a": (b"certificate a", b"key a")}


_replace = disk.replace


def _killed_before_the_index(path: Path, content: bytes, *, mode: int = 0o600) -> None:
    if path.name == INDEX:
        raise KeyboardInterrupt
    _replace(path, content, mode=mode)


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture(params=[0o022, 0o000])
def any_umask(request: pytest.FixtureRequest) -> Iterator[None]:
    before = os.umask(request.param)
    yield
    os.umask(before)


@pytest.mark.usefixtures("any_umask")
def test_only_the_owner_can_read_keys_and_all_can_read_the_index(tmp_path: Path) -> None:
    Store(tmp_path).add(ONE)
    assert _mode(tmp_path / PRIVATE) == 0o600
    assert _mode((tmp_path / PRIVATE).parent) == 0o700
    assert _mode(tmp_path / INDEX) == 0o644


def test_git_ignores_the_keys_of_an_inventory_in_any_repository(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    prod, own = tmp_path / "prod", tmp_path / "own"
    own.mkdir()
    (own / ".gitignore").write_text("nothing-of-ours\n")
    for folder in (prod, own):
        folder.mkdir(exist_ok=True)
        store = Store(folder)
        with store.locked():
            store.add(ONE)
    command = ["git", "-C", str(tmp_path), "status", "--short", "-uall"]
    listed = subprocess.run(command, check=True, capture_output=True, text=True)
    assert set(listed.stdout.split()) - {"??"} == {
        "prod/.gitignore", "prod/certificates.json", "own/.gitignore", "own/certificates.json",
    }  # fmt: skip
    assert (own / ".gitignore").read_text() == "nothing-of-ours\n"


def test_keys_are_stored_under_their_own_sum_and_never_in_the_index(tmp_path: Path) -> None:
    Store(tmp_path).add(ONE)
    sha = hashlib.sha256(b"key a").hexdigest()
    assert json.loads((tmp_path / PRIVATE).read_text()) == {sha: "key a"}
    assert json.loads((tmp_path / INDEX).read_text()) == {"a": {"certificate": "certificate a", "key_sha256": sha}}


def test_the_next_run_finds_added_rows(tmp_path: Path) -> None:
    Store(tmp_path).add(ONE)
    again = Store(tmp_path)
    assert (again.certificate("a"), again.key("a")) == ONE["a"]


def test_the_index_alone_answers_without_the_private_store(tmp_path: Path) -> None:
    Store(tmp_path).add(ONE)
    (tmp_path / PRIVATE).unlink()
    again = Store(tmp_path)
    assert again.certificate("a") == b"certificate a"
    with pytest.raises(Failed, match="bring that file back from its backup"):
        again.key("a")


def test_a_key_without_a_certificate_is_removed_with_the_change_after_the_next(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.add(ONE)
    store.add({"a": (b"renewed", b"new key")})
    assert sorted(json.loads((tmp_path / PRIVATE).read_text()).values()) == ["key a", "new key"]
    store.add({"b": (b"certificate b", b"key b")})
    assert sorted(json.loads((tmp_path / PRIVATE).read_text()).values()) == ["key b", "new key"]


def test_a_run_killed_between_keys_and_index_leaves_pairs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Store(tmp_path).add(ONE)

    monkeypatch.setattr(disk, "replace", _killed_before_the_index)
    with pytest.raises(KeyboardInterrupt):
        Store(tmp_path).add({"a": (b"renewed", b"new key")})
    monkeypatch.undo()

    left = Store(tmp_path)
    assert (left.certificate("a"), left.key("a")) == ONE["a"]
    left.add({"a": (b"renewed", b"newest key")})
    assert Store(tmp_path).key("a") == b"newest key"


_ADD = """
import sys
from pathlib import Path
from typing import Any
from pki.store import Store
store = Store(Path(sys.argv[1]))
for number in range(20):
    with store.locked():
        name = f"{sys.argv[2]}{number}"
        store.add({name: (name.encode(), b"key " + name.encode())})
"""


def test_two_processes_at_once_lose_nothing_of_each_other(tmp_path: Path) -> None:
    running = [subprocess.Popen([sys.executable, "-c", _ADD, str(tmp_path), name]) for name in ("a", "b")]
    assert [process.wait(60) for process in running] == [0, 0]
    store = Store(tmp_path)
    assert set(store.entries) == {f"{name}{number}" for name in "ab" for number in range(20)}
    assert all(store.key(name) == f"key {name}".encode() for name in store.entries)


TWO = {**ONE, "b": (b"certificate b", b"key b"), "c": (b"certificate c", b"key c")}


def _rows(store: Store) -> dict[str, tuple[bytes, bytes]]:
    return {name: (store.certificate(name), store.key(name)) for name in store.entries}


def test_rows_are_removed_moved_and_added_in_one_change(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.add(TWO)
    store.change(remove=["c"], move={"a": "c", "b": "a"}, add={"b": (b"new b", b"new key b")})
    wanted = {"a": TWO["b"], "b": (b"new b", b"new key b"), "c": TWO["a"]}
    assert _rows(store) == _rows(Store(tmp_path)) == wanted


@pytest.mark.parametrize("change", [{"remove": ["d"]}, {"move": {"d": "e"}}, {"remove": ["a"], "move": {"a": "b"}}])
def test_a_change_of_a_missing_row_changes_nothing(tmp_path: Path, change: dict[str, Any]) -> None:
    store = Store(tmp_path)
    store.add(TWO)
    with pytest.raises(KeyError):
        store.change(**change)
    assert _rows(store) == _rows(Store(tmp_path)) == TWO


def test_a_change_killed_between_keys_and_index_leaves_the_old_rows_with_their_keys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Store(tmp_path).add(TWO)

    monkeypatch.setattr(disk, "replace", _killed_before_the_index)
    with pytest.raises(KeyboardInterrupt):
        Store(tmp_path).change(remove=["c"], move={"a": "c", "b": "a"}, add={"b": (b"new b", b"new key b")})
    monkeypatch.undo()
    assert _rows(Store(tmp_path)) == TWO


def test_the_key_of_a_removed_row_is_removed_with_the_next_change(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.add(TWO)
    store.change(remove=["a"])
    assert "key a" in (tmp_path / PRIVATE).read_text()
    store.change()
    assert "key a" not in (tmp_path / PRIVATE).read_text()
    assert _rows(store) == {name: TWO[name] for name in ("b", "c")}


def _keys(folder: Path) -> list[str]:
    return sorted(json.loads((folder / PRIVATE).read_text()).values())


def test_a_run_without_an_index_keeps_every_key_in_all_its_changes(tmp_path: Path) -> None:
    Store(tmp_path).add(TWO)
    index = (tmp_path / INDEX).read_bytes()
    (tmp_path / INDEX).unlink()
    store = Store(tmp_path)
    with store.locked():
        store.add({"d": (b"certificate d", b"key d")})
        store.add({"e": (b"certificate e", b"key e")})
    assert _keys(tmp_path) == ["key a", "key b", "key c", "key d", "key e"]
    (tmp_path / INDEX).write_bytes(index)
    assert _rows(Store(tmp_path)) == TWO, "the index, brought back from its backup, has its keys"


def test_keys_of_a_first_run_without_an_index_are_removed_by_a_later_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for key in (b"key 1", b"key 2"):
        with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
            patched.setattr(disk, "replace", _killed_before_the_index)
            Store(tmp_path).add({"a": (b"certificate a", key)})
    Store(tmp_path).add({"a": (b"certificate a", b"key 3")})
    assert _keys(tmp_path) == ["key 1", "key 2", "key 3"]
    Store(tmp_path).add({"b": (b"certificate b", b"key b")})
    assert _keys(tmp_path) == ["key 3", "key b"]
