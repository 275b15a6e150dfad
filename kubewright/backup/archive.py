"""One backup file: a tar archive in the age format. The manifest comes first, with the sum of every other file."""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import IO

from kubewright import disk
from kubewright.backup import manifest as manifests
from kubewright.backup.age import Damaged, Lock, Opener, Reader, Unopened, Writer
from kubewright.backup.manifest import Kept, Manifest
from kubewright.errors import Failed

_BLOCK = 1 << 20
_LARGEST_MANIFEST = 64 << 20

Target = Callable[[str], Path | None]
"""Where a file goes, by its name; None: nowhere, it is only checked."""


def kept(content: Path | bytes) -> Kept:
    """Size and sum of a file, or of bytes."""
    if isinstance(content, bytes):
        return Kept(size=len(content), sha256=hashlib.sha256(content).hexdigest())
    with content.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256")
        return Kept(size=file.tell(), sha256=digest.hexdigest())


def write(target: Path, locks: Sequence[Lock], manifest: Manifest, content: Mapping[str, Path | bytes]) -> None:
    """Write the backup (0600) and read it again: every byte is decrypted, every sum compared. It is at `target` only if whole.

    `content`: by the names in `manifest.files`. Failed when it can't be written, or is not the same when it is read.
    """
    try:
        with disk.replacing(target) as file:
            writer = Writer(file, locks)
            with tarfile.open(fileobj=writer, mode="w|", format=tarfile.PAX_FORMAT) as archive:  # type: ignore[call-overload]
                for name, what in {manifests.NAME: manifest.text(), **content}.items():
                    _add(archive, name, what)
            writer.finish()
            file.flush()
            with os.fdopen(os.dup(file.fileno()), "rb") as again:
                again.seek(0)
                _read(again, [writer.key], lambda _name: None, str(target))
    except OSError as error:
        raise Failed(
            f"{target}: can't be written: {error.strerror or error}; nothing is there; free space, then again"
        ) from error


def _add(archive: tarfile.TarFile, name: str, what: Path | bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.mode = 0o600
    with io.BytesIO(what) if isinstance(what, bytes) else what.open("rb") as source:
        entry.size = source.seek(0, io.SEEK_END)
        source.seek(0)
        archive.addfile(entry, source)


def verify(path: Path, openers: Sequence[Opener]) -> Manifest:
    """Decrypt every byte and compare every sum; write nothing. Failed, with the reason, when it is not whole."""
    with _opened(path) as file:
        return _read(file, openers, lambda _name: None, str(path))


def extract(path: Path, openers: Sequence[Opener], folder: Path) -> Manifest:
    """As `verify`, and write the files below `folder` (0600 in 0700), which should be removed when it fails."""

    def target(name: str) -> Path:
        there = folder / name
        there.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        return there

    with _opened(path) as file:
        try:
            return _read(file, openers, target, str(path))
        except OSError as error:
            why = error.strerror or error
            raise Failed(f"{folder}: can't be written ({why}); nothing was changed; free space there") from error


def _opened(path: Path) -> IO[bytes]:
    try:
        return path.open("rb")
    except OSError as error:
        raise Failed(f"{path}: {(error.strerror or str(error)).lower()}; name a backup: kubewright backup --list") from error


def _read(source: IO[bytes], openers: Sequence[Opener], target: Target, where: str) -> Manifest:
    try:
        reader = Reader(source, openers)
        with tarfile.open(fileobj=reader, mode="r|") as archive:  # type: ignore[call-overload]
            manifest = _members(archive, target)
        reader.end()
        return manifest
    except Unopened:
        raise Failed(
            f"{where}: the password is wrong, or the key is another one; allowed: the password or key that it was made with; "
            "nothing was changed; give another with --password-file or --identity"
        ) from None
    except (Damaged, tarfile.TarError, ValueError) as error:
        raise Failed(f"{where}: {error}; it is not used, and nothing was changed; take another backup (--list)") from None


def _members(archive: tarfile.TarFile, target: Target) -> Manifest:
    manifest: Manifest | None = None
    seen: set[str] = set()
    for member in archive:
        source = archive.extractfile(member) if member.isreg() else None
        if source is None:
            raise Damaged(f"it holds something else than files ({member.name})")
        if manifest is None:
            if member.name != manifests.NAME or member.size > _LARGEST_MANIFEST:
                raise Damaged("its first file is no manifest")
            manifest = manifests.parse(source.read())
            continue
        if member.name in seen or member.name not in manifest.files or not _safe(member.name):
            raise Damaged(f"it holds a file that its manifest does not name ({member.name})")
        seen.add(member.name)
        _check(member.name, source, manifest.files[member.name], target(member.name))
    if manifest is None:
        raise Damaged("it is empty")
    if missing := sorted(manifest.files.keys() - seen):
        raise Damaged(f"files are missing in it ({', '.join(missing)})")
    return manifest


def _safe(name: str) -> bool:
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts and str(path) == name


def _check(name: str, source: IO[bytes], expected: Kept, target: Path | None) -> None:
    digest, size = hashlib.sha256(), 0

    def blocks() -> Iterator[bytes]:
        nonlocal size
        while block := source.read(_BLOCK):
            size += len(block)
            digest.update(block)
            yield block

    if target is None:
        for _ in blocks():
            pass
    else:
        with disk.replacing(target) as file:
            for block in blocks():
                file.write(block)
    if (size, digest.hexdigest()) != (expected.size, expected.sha256):
        raise Damaged(f"{name} in it differs from its sum in the manifest")
