from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import signal
import time
from pathlib import Path

import pytest
import zstandard

from kubewright import disk
from kubewright.artifacts.cache import Cache, remove_tree

CONTENT = b"a binary" * 10_000


def put(cache: Cache, key: str = "k", content: bytes = CONTENT, recipe: str = "r") -> None:
    with cache.lock(key), cache.workplace(key) as place:
        (place / "file").write_bytes(content)
        cache.add(key, place / "file", version="1", recipe=recipe)


def test_an_added_file_is_found_with_its_compressed_copy(cache: Cache) -> None:
    put(cache)
    entry = cache.get("k", "r")
    assert entry is not None and entry.sha256 == hashlib.sha256(CONTENT).hexdigest() and entry.size == len(CONTENT)
    assert cache.blob(entry.sha256).read_bytes() == CONTENT
    assert cache.blob(entry.sha256).stat().st_mode & 0o777 == 0o755
    packed = cache.zst(entry.sha256).read_bytes()
    assert (hashlib.sha256(packed).hexdigest(), len(packed)) == (entry.zst_sha256, entry.zst_size)
    assert zstandard.ZstdDecompressor().decompress(packed) == CONTENT


def test_reading_an_empty_cache_makes_nothing(cache: Cache) -> None:
    assert cache.get("k", "r") is None and list(cache.entries()) == [] and cache.go_size() == 0
    assert not cache.root.exists()


def test_an_entry_of_another_recipe_is_not_used(cache: Cache) -> None:
    put(cache)
    assert cache.get("k", "other") is None and cache.peek("k") is not None


@pytest.mark.parametrize("damage", ["remove", "truncate", "remove zst", "garbage in the index", "an older index"])
def test_a_damaged_entry_counts_as_missing(cache: Cache, damage: str) -> None:
    put(cache)
    entry = cache.get("k", "r")
    assert entry is not None
    index = cache.root / "index" / "k.json"
    match damage:
        case "remove":
            cache.blob(entry.sha256).unlink()
        case "truncate":
            cache.blob(entry.sha256).write_bytes(CONTENT[:-1])
        case "remove zst":
            cache.zst(entry.sha256).unlink()
        case "garbage in the index":
            index.write_text("{")
        case _:
            index.write_text(json.dumps({"sha256": entry.sha256}))
    assert cache.get("k", "r") is None
    put(cache)
    assert cache.get("k", "r") == entry


def test_a_large_file_is_not_read_again(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    put(cache)
    monkeypatch.setattr("hashlib.file_digest", lambda *_: pytest.fail("hashed again"))
    assert cache.get("k", "r") is not None


def _put_slowly(root: Path, started: str) -> None:
    cache = Cache(root)
    with cache.lock("k"), cache.workplace("k") as place:
        (place / "file").write_bytes(CONTENT[:100])
        Path(started).touch()
        time.sleep(60)


def _put(root: Path) -> None:
    put(Cache(root))


def _wait_for(path: Path) -> None:
    deadline = time.monotonic() + 20
    while not path.exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_kill_leaves_nothing_half_written_and_the_next_run_takes_over(cache: Cache, tmp_path: Path) -> None:
    spawn = multiprocessing.get_context("fork")
    started = tmp_path / "started"
    child = spawn.Process(target=_put_slowly, args=(cache.root, str(started)))
    child.start()
    _wait_for(started)
    waiting = spawn.Process(target=_put, args=(cache.root,))
    waiting.start()
    time.sleep(0.1)
    assert waiting.is_alive() and cache.peek("k") is None, "the second waits for the first"
    assert child.pid is not None
    os.kill(child.pid, signal.SIGKILL)
    child.join()
    waiting.join(20)
    assert waiting.exitcode == 0 and cache.get("k", "r") is not None
    assert not any((cache.root / "work").iterdir()), "the dead one's work is gone"


def test_many_processes_adding_the_same_thing_agree(cache: Cache) -> None:
    spawn = multiprocessing.get_context("fork")
    children = [spawn.Process(target=_put, args=(cache.root,)) for _ in range(6)]
    for child in children:
        child.start()
    for child in children:
        child.join(20)
    assert [child.exitcode for child in children] == [0] * 6
    assert cache.get("k", "r") is not None and len(list((cache.root / "blobs").iterdir())) == 2


def test_clean_keeps_artifacts_and_removes_read_only_folders(cache: Cache) -> None:
    put(cache)
    module = cache.root / "go" / "mod" / "example.org"
    module.mkdir(parents=True)
    (module / "go.mod").write_text("module x\n")
    (module / "go.mod").chmod(0o444)
    module.chmod(0o555)
    assert cache.go_size() == 9
    cache.clean()
    assert cache.get("k", "r") is not None and not (cache.root / "go").exists()
    cache.clean(everything=True)
    assert cache.peek("k") is None
    remove_tree(cache.root / "never there")


def test_the_folder_follows_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/someone")
    monkeypatch.delenv("KUBEWRIGHT_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert disk.cache_root() == Path("/home/someone/.cache/kubewright")
    monkeypatch.setenv("XDG_CACHE_HOME", "/x")
    assert disk.cache_root() == Path("/x/kubewright")
    monkeypatch.setenv("KUBEWRIGHT_CACHE", "/k")
    assert disk.cache_root() == Path("/k") == Cache.default().root
