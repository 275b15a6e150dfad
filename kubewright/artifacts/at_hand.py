"""The part of a release that this machine has, for a preview: stand-ins for the rest, and the work to get it.

Nothing is built, downloaded, written or asked here.
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Sequence
from pathlib import Path

from kubewright.artifacts import directory, gomod, image_recipes, sources
from kubewright.artifacts.cache import Cache, Entry
from kubewright.artifacts.lockfile import LockFile
from kubewright.artifacts.model import BUILT_HERE, UNKNOWN, Bundle, Missing, SourceConfig, Wanted, catalogue
from kubewright.releases import Release
from kubewright.releases.addons import images_of

SECONDS = {
    "kubernetes": 565,
    "etcd": 43,
    "containerd": 79,
    "runc": 16,
    "cni": 16,
    "flannel": 108,
    "coredns": 145,
    "crictl": 44,
    "pause": 1,
    "metrics-server": 89,
    "local-path": 89,
    "local-path-helper": 1,
    "traefik": 300,
    "kube2sky": 79,
}
"""Building each component from Go modules, as measured on two cores with empty caches."""

_STAND_IN = Entry(version="", sha256=UNKNOWN, size=0, zst_sha256=UNKNOWN, zst_size=0, recipe="")


def at_hand(
    release: Release,
    arch: str,
    config: SourceConfig,
    lock_path: Path | None = None,
    *,
    cache: Cache | None = None,
    addons: Sequence[str] = (),
    skydns: bool = True,
) -> Bundle:
    """What `obtain_all` gives, with stand-ins for the missing ones; BadInput as it raises it."""
    cache, lock = cache or Cache.default(), LockFile(lock_path, adds=False)
    wanted = catalogue(release, arch, skydns=skydns)
    source = _likely(config, wanted, cache)
    binaries = [
        sources.artifact(item, _entry(item, source, lock, cache) or _STAND_IN, cache, sources.source_of(item, source))
        for item in wanted
    ]
    references, shorts = image_recipes.references(release), sources.IMAGES + images_of(addons)
    images = [
        sources.image_artifact(
            references[name],
            arch,
            _image(name, references[name], release, arch, sources.image_source(name, source), lock, cache) or _STAND_IN,
            cache,
            sources.image_source(name, source),
        )
        for name in shorts
    ]
    gone = [item for item, found in zip(wanted, binaries, strict=True) if found.sha256 == UNKNOWN]
    names = (*map(str, gone), *(f"{image.reference} {arch}" for image in images if image.sha256 == UNKNOWN))
    if not names:
        return Bundle(binaries=tuple(binaries), images=tuple(images))
    pictures = [sources.inside(name, release, arch) for name, i in zip(shorts, images, strict=True) if i.sha256 == UNKNOWN]
    missing = Missing(
        arch=arch, names=names, takes=_takes(config, gone, pictures), command=command(release, arch, config, lock_path, addons)
    )
    return Bundle(binaries=tuple(binaries), images=tuple(images), missing=missing)


def command(release: Release, arch: str, config: SourceConfig, lock_path: Path | None, addons: Sequence[str] = ()) -> str:
    """The command that fetches a whole release and those add-ons' images."""
    words = ["kubewright", "artifacts", "fetch", "--version", release.kubernetes]
    words += ["--arch", arch] if arch != gomod.machine_arch() else []
    words += ["--source", config.kind] if config.kind != "auto" else []
    words += ["--mirror", config.mirror] if config.mirror else []
    words += ["--directory", str(config.directory)] if config.directory else []
    words += ["--lock", str(lock_path)] if lock_path and config.kind in ("auto", "release", "mirror") else []
    words += [word for name in addons if images_of((name,)) for word in ("--addon", name)]
    return shlex.join(words)


def _likely(source: SourceConfig, wanted: Sequence[Wanted], cache: Cache) -> SourceConfig:
    """The probable result of `auto`: the source that has supplied more of the release before. Only the network could tell."""
    sources.refuse_incomplete(source)
    if source.kind != "auto":
        return source
    if known := sources.complete(wanted, cache):
        return known
    released = sum(cache.peek(f"release-{item.key}") is not None for item in wanted)
    built = sum(gomod.cached(item, cache) is not None for item in wanted)
    return SourceConfig(kind="gomod" if built > released else "release")


def _entry(item: Wanted, source: SourceConfig, lock: LockFile, cache: Cache) -> Entry | None:
    source = sources.source_of(item, source)
    if source.kind == "gomod":
        return gomod.cached(item, cache)
    if source.kind == "directory":
        assert source.directory is not None
        return directory.cached(source.directory, directory.binary_path(item), item.key, cache)
    from kubewright.artifacts import release

    return release.cached(item, source.mirror, lock, cache)


def _image(
    name: str, reference: str, release: Release, arch: str, source: SourceConfig, lock: LockFile, cache: Cache
) -> Entry | None:
    if source.kind == "gomod":
        item = sources.inside(name, release, arch)
        binary = gomod.cached(item, cache)
        return cache.get(*sources.made_key(name, item, binary.sha256)) if binary else None
    if source.kind == "directory":
        assert source.directory is not None
        return directory.cached(
            source.directory, directory.image_path(reference, arch), sources.image_key(name, reference, arch), cache
        )
    from kubewright.artifacts import registry

    return registry.cached(reference, arch, source.mirror, lock, cache)


def _takes(config: SourceConfig, binaries: Sequence[Wanted], images: Sequence[Wanted]) -> str:
    """The work to get them. `images`: the binaries inside the images."""
    if config.kind == "directory":
        return f"taking {_count(len(binaries) + len(images))} from {config.directory}"
    components = {item.component: None for item in (*binaries, *images)}
    minutes = math.ceil(sum(SECONDS[component] for component in components) / 60)
    building = f"building {', '.join(components)} from Go modules: about {minutes} min on two cores"
    if config.kind == "gomod":
        return building
    from kubewright.artifacts.upstream import published

    others = [item for item in binaries if item.component not in BUILT_HERE]
    files = len({published(item).address for item in others}) + len(images)
    if not files:
        return building
    if config.kind == "auto":
        return f"downloading {_count(files)} from upstream; or, where upstream does not answer, {building}"
    ours = f", and building {', '.join(sorted(components.keys() & BUILT_HERE))}" if components.keys() & BUILT_HERE else ""
    return f"downloading {_count(files)} from {config.mirror or 'upstream'}{ours}"


def _count(number: int) -> str:
    return "1 file" if number == 1 else f"{number} files"
