"""The cache of artifacts: files by their SHA-256, and an index that says which file is which.

    blobs/<sha256>        the plain file, complete or absent, mode 0755
    blobs/<sha256>.zst    the same bytes, compressed
    index/<key>.json      an Entry
    locks/<name>          flock, one a build or download
    work/<name>/          unfinished work; wiped by the next holder of the lock
    partial/<sha256>      downloads that can be resumed, by the sum they must come to
    go/                   Go's module and build caches

Everything becomes visible by a rename within this folder, after fsync: a kill at any moment leaves no half-written
blob or entry. Reading trusts the index and looks only at sizes: nothing here hashes a blob a second time.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import stat
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from kubewright import disk
from kubewright.errors import Failed

CHUNK = 1 << 20
# On two cores level 6 keeps up with the disk at a third of the size; 9 takes twice the time for 2 % less.
ZSTD_LEVEL, ZSTD_THREADS = 6, 2


@dataclass(frozen=True, kw_only=True)
class Entry:
    """The index's record of one artifact. Sums are hex SHA-256, sizes bytes."""

    version: str
    sha256: str
    size: int
    zst_sha256: str
    zst_size: int
    recipe: str
    """A digest of the recipe; a changed recipe means a new build."""


@dataclass(frozen=True)
class Cache:
    """A cache folder. Creating the object touches nothing."""

    root: Path

    @classmethod
    def default(cls) -> Cache:
        return cls(disk.cache_root())

    @property
    def partial(self) -> Path:
        return self._folder("partial")

    def has_partial(self) -> bool:
        """Whether partial/ has any download, or an archive that holds more binaries."""
        folder = self.root / "partial"
        return folder.is_dir() and any(folder.iterdir())

    def blob(self, sha256: str) -> Path:
        return self.root / "blobs" / sha256

    def zst(self, sha256: str) -> Path:
        return self.root / "blobs" / f"{sha256}.zst"

    def get(self, key: str, recipe: str) -> Entry | None:
        """The entry, if its recipe matches and both files have their full size; else None."""
        entry = self.peek(key)
        return entry if entry is not None and entry.recipe == recipe else None

    def peek(self, key: str) -> Entry | None:
        """The same, for any recipe."""
        try:
            entry = Entry(**json.loads((self.root / "index" / f"{key}.json").read_bytes()))
            sizes = self.blob(entry.sha256).stat().st_size, self.zst(entry.sha256).stat().st_size
        except (OSError, ValueError, TypeError):
            return None  # absent, or written by another version of this program: made again
        return entry if sizes == (entry.size, entry.zst_size) else None

    def add(self, key: str, file: Path, *, version: str, recipe: str) -> Entry:
        """Take a finished file (on this file system, usually below work/) into the cache; the file is moved."""
        sha256, size = digest(file)
        packed = file.with_name(file.name + ".zst.tmp")
        zst_sha256, zst_size = compress(file, packed)
        file.chmod(0o755)
        self._folder("blobs")
        disk.move(packed, self.zst(sha256))
        disk.move(file, self.blob(sha256))
        entry = Entry(version=version, sha256=sha256, size=size, zst_sha256=zst_sha256, zst_size=zst_size, recipe=recipe)
        disk.replace(self._folder("index") / f"{key}.json", json.dumps(asdict(entry), indent=1).encode() + b"\n", mode=0o644)
        return entry

    def entries(self) -> Iterator[tuple[str, Entry]]:
        """Every complete entry with its key, sorted."""
        for path in sorted((self.root / "index").glob("*.json")):
            with contextlib.suppress(OSError, ValueError, TypeError):
                yield path.stem, Entry(**json.loads(path.read_bytes()))

    @contextlib.contextmanager
    def lock(self, name: str) -> Iterator[int]:
        """Hold `locks/<name>`; waits while another process holds it. Yields the descriptor: a child that inherits it keeps
        the lock, so the next run waits for the child of a killed run."""
        path = self._folder("locks") / name
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield descriptor
        finally:
            os.close(descriptor)  # not LOCK_UN: that would release the children's lock too

    @contextlib.contextmanager
    def workplace(self, name: str) -> Iterator[Path]:
        """An empty folder work/<name>; take the lock of that name first. Removed at the end."""
        place = self.root / "work" / name
        remove_tree(place)
        place.mkdir(parents=True)
        try:
            yield place
        finally:
            remove_tree(place)

    def go_environment(self) -> dict[str, str]:
        """Keeps Go's caches here, so that an interrupted build resumes and `clean` finds them."""
        go = self.root / "go"
        return {"GOPATH": str(go / "path"), "GOMODCACHE": str(go / "mod"), "GOCACHE": str(go / "build")}

    def go_size(self) -> int:
        """Bytes in Go's module and build caches."""
        return sum((Path(folder) / name).lstat().st_size for folder, _, names in os.walk(self.root / "go") for name in names)

    def clean(self, *, everything: bool = False) -> None:
        """Remove Go's caches and unfinished work; with `everything`, the artifacts too."""
        for name in ("go", "work", "partial", *(("index", "blobs") if everything else ())):
            remove_tree(self.root / name)

    def _folder(self, name: str) -> Path:
        folder = self.root / name
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise Failed(f"{folder}: cannot be created ({error.strerror}); point KUBEWRIGHT_CACHE elsewhere") from error
        return folder


def digest(file: Path) -> tuple[str, int]:
    """SHA-256 in hex and size in bytes."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest(), file.stat().st_size


def compress(source: Path, target: Path) -> tuple[str, int]:
    """Write `target` as zstd; its SHA-256 and size."""
    import zstandard  # slow to import, and not needed when everything is cached

    packer = zstandard.ZstdCompressor(level=ZSTD_LEVEL, threads=ZSTD_THREADS, write_content_size=True)
    with source.open("rb") as plain, target.open("wb") as packed:
        packer.copy_stream(plain, packed, size=source.stat().st_size, read_size=CHUNK, write_size=CHUNK)
    return digest(target)


def remove_tree(folder: Path) -> None:
    """Like rm -rf; Go's module cache has read-only folders, whose entries only a writable folder lets go
    (root does not notice, others do)."""
    if not folder.exists():
        return
    for name, _, _ in os.walk(folder):
        path = Path(name)
        mode = path.stat().st_mode
        if not mode & stat.S_IWUSR:
            path.chmod(mode | stat.S_IRWXU)
    shutil.rmtree(folder)
