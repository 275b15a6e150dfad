"""The source `directory`: a folder carried to a site without a network, with a SHA256SUMS that names every file in it.

    SHA256SUMS                                        `sum  path` lines
    binaries/<arch>/<component>-<version>/<name>      plain, or `<name>.zst`
    images/<arch>/<pause|coredns|agnhost>-<tag>.tar   plain, or `.tar.zst`

`export` writes such a folder from the cache. `publish` writes another kind, for a file server that hosts fetch from: only
compressed files, each named by the sum of its uncompressed content.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from kubewright import disk
from kubewright.artifacts.cache import CHUNK, Cache, Entry, digest
from kubewright.artifacts.model import Artifact, Bundle, ImageArtifact, Say, Wanted, published_name
from kubewright.errors import BadInput, Failed, Problem

SUMS = "SHA256SUMS"


def binary_path(wanted: Wanted) -> str:
    """Relative to the folder, without `.zst`."""
    return f"binaries/{wanted.arch}/{wanted.component}-{wanted.version}/{wanted.name}"


def image_path(reference: str, arch: str) -> str:
    """Relative to the folder, without `.zst`."""
    repository, _, tag = reference.rpartition(":")
    return f"images/{arch}/{repository.rpartition('/')[2]}-{tag}.tar"


def read_sums(folder: Path) -> dict[str, str]:
    """Path to sum. BadInput when the folder has no SHA256SUMS."""
    file = folder / SUMS
    try:
        lines = file.read_text().splitlines()
    except OSError as error:
        raise BadInput(
            [
                Problem(
                    where=str(file),
                    what=f"cannot be read ({error.strerror})",
                    allowed="a folder with a SHA256SUMS",
                    todo="write the bundle with `kubewright artifacts fetch --bundle FOLDER`, or name another folder",
                )
            ]
        ) from error
    parts = (line.split(maxsplit=1) for line in lines if line.strip())
    return {pair[1].lstrip("*").removeprefix("./"): pair[0].lower() for pair in parts if len(pair) == 2}


def obtain(folder: Path, path: str, key: str, version: str, cache: Cache, say: Say) -> Entry:
    """Import one file of the bundle into the cache, checked against SHA256SUMS. Failed when it is absent, not
    listed, or has another sum."""
    name, expected = _listed(folder, path)
    source = folder / name
    if entry := cache.get(f"directory-{key}", expected):
        return entry
    if not source.is_file():
        raise Failed(f"{source}: not there, though {SUMS} names it; copy the bundle again")
    found, _ = digest(source)
    if found != expected:
        raise Failed(f"{source}: the sum is wrong (got {found}; {SUMS} says {expected}); copy the bundle again")
    lock = f"directory-{key}"
    with cache.lock(lock):
        say(f"{path}: taking it from {folder}")
        with cache.workplace(lock) as place:
            plain = place / "file"
            _expand(source, plain) if name.endswith(".zst") else shutil.copyfile(source, plain)
            return cache.add(f"directory-{key}", plain, version=version, recipe=expected)


def cached(folder: Path, path: str, key: str, cache: Cache) -> Entry | None:
    """The entry, if the cache has that file of the bundle already. Failed when SHA256SUMS does not list it."""
    return cache.get(f"directory-{key}", _listed(folder, path)[1])


def _listed(folder: Path, path: str) -> tuple[str, str]:
    """The file's name in the bundle and its sum."""
    sums = read_sums(folder)
    name = next((each for each in (f"{path}.zst", path) if each in sums), None)
    if name is None:
        raise Failed(f"{folder / SUMS}: names no {path}; make the bundle for this release and architecture")
    return name, sums[name]


def export(bundle: Bundle, folder: Path) -> int:
    """Write the bundle's files, compressed, and SHA256SUMS last: a folder without it is unfinished. How many files it lists.
    Files that it lists already stay: a folder can hold several releases and architectures. Failed when it can't be written."""
    try:
        return _export(bundle, folder)
    except OSError as error:
        raise Failed(f"{folder}: cannot be written ({error.strerror}); name a folder that you can write to") from error


def _export(bundle: Bundle, folder: Path) -> int:
    folder.mkdir(parents=True, exist_ok=True)
    before = read_sums(folder) if (folder / SUMS).exists() else {}
    lines = []
    for artifact in bundle.binaries:
        path = binary_path(Wanted(component=artifact.component, name=artifact.name, version=artifact.version, arch=artifact.arch))
        lines.append(_copy(artifact.zst_path, artifact.zst_sha256, folder, path))
    for image in bundle.images:
        lines.append(_copy(image.zst_path, image.zst_sha256, folder, image_path(image.reference, image.arch)))
    every = before | {path: sha for sha, path in (line.split() for line in lines)}
    disk.replace(folder / SUMS, "".join(f"{every[path]}  {path}\n" for path in sorted(every)).encode(), mode=0o644)
    return len(every)


def publish(bundle: Bundle, folder: Path) -> int:
    """Write the compressed files that `folder` lacks, and return their number. Each appears whole: hosts may be fetching
    from it. Files of other releases stay. Failed when it can't be written."""
    added = 0
    try:
        folder.mkdir(parents=True, exist_ok=True)
        every: tuple[Artifact | ImageArtifact, ...] = (*bundle.binaries, *bundle.images)
        for artifact in every:
            target = folder / published_name(artifact)
            if target.is_file() and target.stat().st_size == artifact.zst_size:
                continue
            with artifact.zst_path.open("rb") as source, disk.replacing(target, mode=0o644) as file:
                shutil.copyfileobj(source, file, CHUNK)
            added += 1
    except OSError as error:
        raise Failed(f"{folder}: cannot be written ({error.strerror}); name a folder that you can write to") from error
    return added


def _copy(source: Path, sha256: str, folder: Path, path: str) -> str:
    target = folder / f"{path}.zst"
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    return f"{sha256}  {path}.zst\n"


def _expand(source: Path, target: Path) -> None:
    import zstandard

    with source.open("rb") as packed, target.open("wb") as plain:
        zstandard.ZstdDecompressor().copy_stream(packed, plain, read_size=CHUNK, write_size=CHUNK)
