"""Archives of images that a user names: their content, and their copies in the cache."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kubewright.artifacts.cache import Cache, digest
from kubewright.artifacts.model import Archive, Say

_MANIFEST = 20 << 20
"""The most bytes of a manifest that containerd reads [containerd: core/images/archive/importer.go, jsonLimit]."""
_PATH = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*"
_REST = re.compile(rf"(?P<path>{_PATH})(?::(?P<tag>\w[\w.-]{{0,127}}))?(?P<digest>@sha256:[0-9a-f]{{64}})?", re.ASCII)
_HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?(?::[0-9]{1,5})?", re.ASCII)


class Unusable(Exception):
    """Why a file can't be imported: one clause."""


@dataclass(frozen=True, kw_only=True)
class Content:
    """The images of an archive. `references` are complete names (docker.io/library/busybox:1.37), `arches` Go's names."""

    references: tuple[str, ...]
    arches: frozenset[str]


def name_of(path: Path) -> str:
    """The archive's name on hosts: that of its file, without the ending."""
    return re.sub(r"[^A-Za-z0-9_.+-]", "-", path.name.removesuffix(".tar"))[:100].lstrip(".+-") or "archive"


def read(path: Path) -> Content:
    """What the archive holds. Unusable when containerd could not import it, or when an image in it has no name."""
    try:
        if not path.is_file():
            raise Unusable("no regular file" if path.exists() else "no such file")
        with tarfile.open(path, "r:") as tar:
            return _read({member.name.removeprefix("./"): member for member in tar}, tar)
    except tarfile.TarError:
        raise Unusable("not a tar archive, or a compressed or incomplete one") from None
    except (KeyError, TypeError, AttributeError):
        raise Unusable("an archive whose manifest has another form than Docker's and OCI's") from None
    except (OSError, ValueError) as error:
        raise Unusable((getattr(error, "strerror", None) or "unreadable").lower()) from None


def obtain(path: Path, cache: Cache, say: Say, *, keep: bool = True) -> Archive:
    """The archive, compressed in the cache. A file of the same size and time is not read again. With `keep` False nothing is
    written: the compressed size of a new one is then 0. Unusable as `read` raises it."""
    content, state = read(path), path.stat()
    recipe = f"{state.st_size} {state.st_mtime_ns}"
    key = f"archive-{hashlib.sha256(str(path).encode()).hexdigest()[:24]}"
    entry = cache.get(key, recipe)
    if entry is None and not keep:
        sha256, size = digest(path)
        return Archive(
            name=name_of(path), references=content.references, sha256=sha256, size=size, zst_path=cache.zst(sha256), zst_size=0
        )
    if entry is None:
        with cache.lock(key):
            say(f"{path.name}: compressing")
            with cache.workplace(key) as place:
                entry = cache.add(key, Path(shutil.copyfile(path, place / "image.tar")), version=name_of(path), recipe=recipe)
    return Archive(
        name=name_of(path),
        references=content.references,
        sha256=entry.sha256,
        size=entry.size,
        zst_path=cache.zst(entry.sha256),
        zst_size=entry.zst_size,
    )


def _read(members: dict[str, tarfile.TarInfo], tar: tarfile.TarFile) -> Content:
    if "oci-layout" in members:
        return _content(_oci(members, tar))
    if "manifest.json" in members:
        return _content(_docker(members, tar))
    raise Unusable("a tar archive without a manifest")


def _content(found: Iterator[tuple[str, str]]) -> Content:
    """Of (name, architecture)s."""
    images = tuple(found)
    if not images:
        raise Unusable("an archive without an image")
    return Content(references=tuple(dict.fromkeys(name for name, _ in images)), arches=frozenset(arch for _, arch in images))


def _docker(members: dict[str, tarfile.TarInfo], tar: tarfile.TarFile) -> Iterator[tuple[str, str]]:
    for image in _json("manifest.json", members, tar):
        missing = [name for name in (image["Config"], *image["Layers"]) if name not in members]
        if missing:
            raise Unusable(f"an archive without {missing[0]}, which its manifest names")
        names = image.get("RepoTags") or ()
        if not names:
            raise Unusable("an archive with an image that has no name")
        arch = str(_json(image["Config"], members, tar).get("architecture", ""))
        for name in names:
            yield _complete(str(name)), arch


def _oci(members: dict[str, tarfile.TarInfo], tar: tarfile.TarFile) -> Iterator[tuple[str, str]]:
    for one in _json("index.json", members, tar)["manifests"]:
        notes = one.get("annotations", {})
        name = str(notes.get("io.containerd.image.name") or notes.get("org.opencontainers.image.ref.name") or "")
        # containerd takes these names unchanged, and the kubelet asks for complete ones.
        if not name or _complete(name) != name or "/" not in name:
            raise Unusable(f"an archive with an image that has no complete name, like registry.example.org/app:1 ({name[:80]})")
        arches = tuple(_arches(one, members, tar))
        if not arches:
            raise Unusable(f"an archive without the layers of {name[:80]}")
        yield from ((name, arch) for arch in arches)


def _arches(one: dict[str, Any], members: dict[str, tarfile.TarInfo], tar: tarfile.TarFile) -> Iterator[str]:
    """The architectures of a manifest or an index, as far as their blobs are there."""
    blob = _blob(one)
    if blob not in members:
        return
    found = _json(blob, members, tar)
    if "manifests" in found:
        for each in found["manifests"]:
            yield from _arches(each, members, tar)
    elif all(_blob(each) in members for each in (found["config"], *found["layers"])):
        arch = str(_json(_blob(found["config"]), members, tar).get("architecture", ""))
        if arch not in ("", "unknown"):  # an attestation has no architecture
            yield arch


def _blob(descriptor: dict[str, Any]) -> str:
    return f"blobs/{str(descriptor['digest']).replace(':', '/')}"


def _json(name: str, members: dict[str, tarfile.TarInfo], tar: tarfile.TarFile) -> Any:
    stream = tar.extractfile(members[name]) if name in members else None
    if stream is None or members[name].size > _MANIFEST:
        raise Unusable(f"an archive without a usable {name[:100]}")
    try:
        return json.loads(stream.read())
    except (ValueError, RecursionError):
        raise Unusable(f"an archive whose {name[:100]} is not JSON") from None


def _complete(name: str) -> str:
    """The complete name, as docker has it [distribution/reference: ParseDockerRef]."""
    host, slash, rest = name.partition("/")
    # The first part is a host only with a dot, a port, or as localhost.
    if not slash or not (set(host) & set(".:") or host == "localhost"):
        host, rest = "docker.io", name
    found = _REST.fullmatch(rest)
    if not found or not _HOST.fullmatch(host):
        raise Unusable(f"an archive with an image whose name is not valid ({name[:80]})")
    path = found["path"]
    if host in ("index.docker.io", "docker.io"):
        host, path = "docker.io", path if "/" in path else f"library/{path}"
    return f"{host}/{path}{found['digest'] or ':' + (found['tag'] or 'latest')}"
