"""The sources `release` and `mirror`: upstream's files, checked against the sums that upstream publishes beside them,
pinned in artifacts.lock at first use. A file without a sum is refused."""

from __future__ import annotations

import hashlib
import shutil
import tarfile
from collections.abc import Sequence
from pathlib import Path

import httpx

from kubewright.artifacts.access import Access
from kubewright.artifacts.cache import CHUNK, Cache, Entry
from kubewright.artifacts.credentials import Login, login_for
from kubewright.artifacts.download import client, fetch_file, fetch_text, reachable
from kubewright.artifacts.lockfile import LockFile
from kubewright.artifacts.model import Say, Wanted
from kubewright.artifacts.upstream import Published, published, sum_for, through_mirror
from kubewright.errors import Failed


def key(wanted: Wanted, mirror: str | None) -> str:
    """The index key. Each mirror has its own: none is trusted for another."""
    kind = "release" if mirror is None else "mirror." + hashlib.sha256(mirror.encode()).hexdigest()[:12]
    return f"{kind}-{wanted.key}"


def cached(wanted: Wanted, mirror: str | None, lock: LockFile, cache: Cache) -> Entry | None:
    """The entry, if its file had the sum in the lock (or the lock has none)."""
    file = published(wanted)
    pinned = lock.read().get(file.address)
    name = key(wanted, mirror)
    if pinned is not None:
        return cache.get(name, pinned)
    entry = cache.peek(name)
    if entry is not None:
        lock.pin(file.address, entry.recipe)
    return entry


def is_reachable(wanted: Wanted) -> bool:
    """Whether upstream answers, asked for a small file."""
    return reachable(published(wanted).sums)


def fetch(wanted: Wanted, mirror: str | None, lock: LockFile, cache: Cache, say: Say) -> Entry:
    """Fetch the binary into the cache. An archive stays in partial/ for its other binaries, until `forget_archives`. Failed
    as in download.py, and when upstream publishes no such file or another than the pinned one."""
    file = published(wanted)
    with client(_access(mirror)) as http:
        sha256 = _published_sum(http, file, mirror)
        lock.check(file.address, sha256)
        with cache.lock(f"download-{sha256}"):
            if entry := cache.get(key(wanted, mirror), sha256):
                return entry  # another process fetched it meanwhile
            source = through_mirror(file.address, mirror)
            say(f"{wanted}: fetching {source}")
            archive = fetch_file(http, source, sha256, cache, say)
            with cache.workplace(f"download-{sha256}") as place:
                binary = place / wanted.name
                if file.member is None:
                    archive.replace(binary)
                else:
                    _unpack(archive, file.member, binary)
                entry = cache.add(key(wanted, mirror), binary, version=wanted.version, recipe=sha256)
    lock.pin(file.address, sha256)
    return entry


def forget_archives(wanted: Sequence[Wanted], mirror: str | None, cache: Cache) -> None:
    """Remove the downloaded archives of those binaries. Under the lock: another process may be unpacking one."""
    for item in wanted:
        if (entry := cache.peek(key(item, mirror))) and published(item).member is not None:
            archive = cache.partial / entry.recipe
            if archive.exists():
                with cache.lock(f"download-{entry.recipe}"):
                    archive.unlink(missing_ok=True)


def _access(mirror: str | None) -> Access | None:
    """A file server is sent the credentials at once, as curl does: some answer 404 to a client without any."""
    if mirror is None:
        return None
    login = login_for(mirror, image=False)
    return Access(mirror, login, login.basic if isinstance(login, Login) else "")


def _published_sum(http: httpx.Client, file: Published, mirror: str | None) -> str:
    address = through_mirror(file.sums, mirror)
    found = sum_for(file.file_name, fetch_text(http, address))
    if found is None:
        raise Failed(
            f"{address}: holds no SHA-256 for {file.file_name}; nothing is installed without a sum: "
            "use --source gomod, or a mirror or directory that has one"
        )
    return found


def _unpack(archive: Path, member: str, target: Path) -> None:
    """One regular file of a tar. Paths in it are only compared, so no file can be written elsewhere."""
    try:
        with tarfile.open(archive) as tar:
            for info in tar:
                if info.isfile() and info.name.removeprefix("./") == member:
                    stream = tar.extractfile(info)
                    assert stream is not None
                    with stream, target.open("wb") as out:
                        shutil.copyfileobj(stream, out, CHUNK)
                    return
    except tarfile.TarError as error:
        raise Failed(f"{archive.name}: cannot be unpacked ({error}), though its sum is right; report this") from error
    raise Failed(f"{archive.name}: holds no {member}, though its sum is right; the release's layout has changed")
