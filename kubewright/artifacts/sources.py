"""Everything a release needs, from any source: the interface for the rest of the program.

For cached artifacts only the index is read; the modules that fetch and build are imported when needed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache as once
from pathlib import Path

from kubewright.artifacts import directory, gomod, image_recipes
from kubewright.artifacts.cache import Cache, Entry
from kubewright.artifacts.lockfile import LockFile
from kubewright.artifacts.model import (
    BUILT_HERE,
    Artifact,
    Bundle,
    ImageArtifact,
    Say,
    SourceConfig,
    Wanted,
    agnhost,
    catalogue,
)
from kubewright.errors import BadInput, Problem
from kubewright.releases import Release

_BASE_URL = re.compile(r"https?://[A-Za-z0-9._-]+(:[0-9]{1,5})?(?=/|$)")
IMAGES = ("pause", "coredns")
TEST_IMAGES = ("agnhost",)


def obtain_all(
    release: Release,
    arch: str,
    source_config: SourceConfig,
    say: Say,
    lock_path: Path | None = None,
    *,
    cache: Cache | None = None,
    test_images: bool = True,
    skydns: bool = True,
) -> Bundle:
    """Every binary and image of a release. When all of it is cached, this takes milliseconds and uses no network.

    `skydns`: with the binaries that only the DNS provider skydns needs.
    """
    cache = cache or Cache.default()
    wanted = catalogue(release, arch, skydns=skydns)
    source = resolve(source_config, wanted, cache)
    binaries = obtain(wanted, source, cache, say, lock_path)
    names = IMAGES + TEST_IMAGES if test_images else IMAGES
    images = obtain_images(release, arch, source, cache, say, lock_path, names=names)
    return Bundle(binaries=tuple(binaries), images=tuple(images))


def obtain(
    wanted: Sequence[Wanted], source_config: SourceConfig, cache: Cache, say: Say, lock_path: Path | None = None
) -> list[Artifact]:
    """The binaries, in the order of `wanted`. Failed or BadInput."""
    source = resolve(source_config, wanted, cache)
    lock = LockFile(lock_path)
    found = [
        artifact(item, _entry(item, used, lock, cache, say), cache, used)
        for item in wanted
        for used in (source_of(item, source),)
    ]
    if source.kind in ("release", "mirror") and cache.has_partial():
        from kubewright.artifacts import release

        release.forget_archives(_published(wanted), source.mirror, cache)
    return found


def source_of(item: Wanted, source: SourceConfig) -> SourceConfig:
    """The source of one binary: components of our own are built here, unless a directory has them."""
    return SourceConfig(kind="gomod") if item.component in BUILT_HERE and source.kind != "directory" else source


def _published(wanted: Sequence[Wanted]) -> list[Wanted]:
    return [item for item in wanted if item.component not in BUILT_HERE]


def obtain_images(
    release: Release,
    arch: str,
    source_config: SourceConfig,
    cache: Cache,
    say: Say,
    lock_path: Path | None = None,
    *,
    names: Sequence[str] = IMAGES + TEST_IMAGES,
) -> list[ImageArtifact]:
    """The images with those short names, as archives. Failed or BadInput."""
    source = resolve(source_config, catalogue(release, arch), cache)
    lock = LockFile(lock_path)
    references = image_recipes.references(release)
    return [_image(name, references[name], release, arch, source, lock, cache, say) for name in names]


def resolve(source: SourceConfig, wanted: Sequence[Wanted], cache: Cache) -> SourceConfig:
    """The source that `auto` means: one whose artifacts are all cached, else release if upstream answers, else gomod. BadInput
    when a mirror has no base URL or a directory no path."""
    refuse_incomplete(source)
    if source.kind != "auto":
        return source
    return complete(wanted, cache) or SourceConfig(kind="release" if _upstream_answers(wanted[0]) else "gomod")


def complete(wanted: Sequence[Wanted], cache: Cache) -> SourceConfig | None:
    """The source from which everything is cached, components of our own apart."""
    wanted = _published(wanted)
    if all(cache.peek(f"release-{item.key}") for item in wanted):
        return SourceConfig(kind="release")
    return SourceConfig(kind="gomod") if all(gomod.cached(item, cache) for item in wanted) else None


def refuse_incomplete(source: SourceConfig) -> None:
    """BadInput when a mirror has no base URL or one with a password in it, or a directory no path."""
    if source.kind == "mirror" and not source.mirror:
        raise _incomplete("mirror", "a base URL", "give it with --mirror or artifacts.mirror")
    if source.mirror and not _BASE_URL.match(source.mirror):
        raise BadInput(
            [
                Problem(
                    where="source mirror",
                    what="not an http or https URL without user and password (not shown)",
                    allowed="https://HOST[:PORT][/PATH]",
                    todo="write user and password as `machine HOST login USER password PASSWORD` into ~/.netrc (mode 0600)",
                )
            ]
        )
    if source.kind == "directory" and source.directory is None:
        raise _incomplete("directory", "a path", "give it with --directory or artifacts.directory")


@once
def _upstream_answers(wanted: Wanted) -> bool:
    from kubewright.artifacts import release

    return release.is_reachable(wanted)


def _entry(item: Wanted, source: SourceConfig, lock: LockFile, cache: Cache, say: Say) -> Entry:
    if source.kind == "gomod":
        found = gomod.cached(item, cache)
        return found or gomod.build(item.component, item.version, item.arch, cache, say)[item.name]
    if source.kind == "directory":
        assert source.directory is not None
        path = directory.binary_path(item)
        return directory.obtain(source.directory, path, item.key, item.version, cache, say)
    from kubewright.artifacts import release

    return release.cached(item, source.mirror, lock, cache) or release.fetch(item, source.mirror, lock, cache, say)


def _image(
    name: str, reference: str, release: Release, arch: str, source: SourceConfig, lock: LockFile, cache: Cache, say: Say
) -> ImageArtifact:
    if source.kind == "gomod":
        entry = _made(name, reference, release, arch, cache, say)
    elif source.kind == "directory":
        assert source.directory is not None
        path = directory.image_path(reference, arch)
        tag = reference.rpartition(":")[2]
        entry = directory.obtain(source.directory, path, image_key(name, reference, arch), tag, cache, say)
    else:
        from kubewright.artifacts import registry

        found = registry.cached(reference, arch, source.mirror, lock, cache)
        entry = found or registry.pull(reference, arch, source.mirror, lock, cache, say)
    return image_artifact(reference, arch, entry, cache, source)


def image_key(name: str, reference: str, arch: str) -> str:
    """The index key of an image from an offline folder."""
    return f"image-{name}-{reference.rpartition(':')[2]}-{arch}"


def image_artifact(reference: str, arch: str, entry: Entry, cache: Cache, source: SourceConfig) -> ImageArtifact:
    return ImageArtifact(
        reference=reference,
        arch=arch,
        sha256=entry.sha256,
        size=entry.size,
        path=cache.blob(entry.sha256),
        zst_path=cache.zst(entry.sha256),
        zst_sha256=entry.zst_sha256,
        zst_size=entry.zst_size,
        source=source.kind,
    )


def _made(name: str, reference: str, release: Release, arch: str, cache: Cache, say: Say) -> Entry:
    """An image archive around a binary built here."""
    wanted = inside(name, release, arch)
    (binary,) = obtain([wanted], SourceConfig(kind="gomod"), cache, say)
    key, digest = made_key(name, wanted, binary.sha256)
    if entry := cache.get(key, digest):
        return entry
    with cache.lock(key):
        if entry := cache.get(key, digest):
            return entry
        from kubewright.artifacts.images import write_image

        with cache.workplace(key) as place:
            write_image(image_recipes.image(name, reference, binary), place / "image.tar")
            entry = cache.add(key, place / "image.tar", version=wanted.version, recipe=digest)
        say(f"{reference} {arch}: image made")
        return entry


def inside(name: str, release: Release, arch: str) -> Wanted:
    """The binary inside the image with that short name."""
    return {
        "pause": Wanted(component="pause", name="pause", version=release.pause, arch=arch),
        "coredns": Wanted(component="coredns", name="coredns", version=release.coredns, arch=arch),
        "agnhost": agnhost(release, arch),
    }[name]


def made_key(name: str, binary: Wanted, sha256: str) -> tuple[str, str]:
    """The index key of an image around that binary, and its recipe's digest."""
    return f"image-gomod-{name}-{binary.version}-{binary.arch}", image_recipes.digest(name, sha256)


def artifact(item: Wanted, entry: Entry, cache: Cache, source: SourceConfig) -> Artifact:
    return Artifact(
        component=item.component,
        name=item.name,
        version=item.version,
        arch=item.arch,
        says=entry.version,
        sha256=entry.sha256,
        size=entry.size,
        path=cache.blob(entry.sha256),
        zst_path=cache.zst(entry.sha256),
        zst_sha256=entry.zst_sha256,
        zst_size=entry.zst_size,
        source=source.kind,
    )


def _incomplete(kind: str, what: str, todo: str) -> BadInput:
    return BadInput([Problem(where=f"source {kind}", what=f"{what} is missing", allowed=f"{what} is needed", todo=todo)])
