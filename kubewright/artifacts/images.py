"""Writing an image as a docker-archive tar, the same bytes for the same input: fixed times, owners and order.

image_recipes.py says what goes into which image.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

EPOCH = "1970-01-01T00:00:00Z"


@dataclass(frozen=True, kw_only=True)
class Member:
    """One entry of the image's file system. Exactly one of `content` (bytes, or a file to copy) and `link` (the
    target of a symbolic link); neither: a folder. All are owned by root."""

    path: str
    """Without a leading slash."""
    mode: int = 0o755
    content: bytes | Path | None = None
    link: str | None = None


@dataclass(frozen=True, kw_only=True)
class Image:
    """One image of a single layer."""

    reference: str
    arch: str
    members: tuple[Member, ...]
    entrypoint: tuple[str, ...]
    user: str = ""
    """`uid:gid`; empty is root."""
    environment: tuple[str, ...] = ()
    ports: tuple[str, ...] = ()
    """`53/udp`."""


def write_image(image: Image, target: Path) -> None:
    """Write the archive to `target`. Layers stay uncompressed: the whole archive is compressed for the transfer to a host."""
    layer = target.with_name(target.name + ".layer")
    try:
        _write_layer(image.members, layer)
        with layer.open("rb") as stream:
            diff_id = hashlib.file_digest(stream, "sha256").hexdigest()
        config = _json(_config(image, diff_id))
        config_name = hashlib.sha256(config).hexdigest() + ".json"
        layer_name = f"{diff_id}/layer.tar"
        manifest = _json([{"Config": config_name, "RepoTags": [image.reference], "Layers": [layer_name]}])
        with tarfile.open(target, "w", format=tarfile.USTAR_FORMAT) as archive, layer.open("rb") as stream:
            archive.addfile(_info(config_name, 0o644, len(config)), io.BytesIO(config))
            archive.addfile(_info(layer_name, 0o644, layer.stat().st_size), stream)
            archive.addfile(_info("manifest.json", 0o644, len(manifest)), io.BytesIO(manifest))
    finally:
        layer.unlink(missing_ok=True)


def _config(image: Image, diff_id: str) -> dict[str, object]:
    inner: dict[str, object] = {"Entrypoint": list(image.entrypoint), "WorkingDir": "/"}
    inner["Env"] = ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", *image.environment]
    if image.user:
        inner["User"] = image.user
    if image.ports:
        inner["ExposedPorts"] = {port: {} for port in image.ports}
    return {
        "architecture": image.arch,
        "config": inner,
        "created": EPOCH,
        "history": [{"created": EPOCH, "created_by": "kubewright"}],
        "os": "linux",
        "rootfs": {"diff_ids": [f"sha256:{diff_id}"], "type": "layers"},
    }


def _write_layer(members: Sequence[Member], target: Path) -> None:
    with tarfile.open(target, "w", format=tarfile.USTAR_FORMAT) as layer:
        for member in sorted(members, key=lambda one: one.path):
            _add(layer, member)


def _add(layer: tarfile.TarFile, member: Member) -> None:
    stream: IO[bytes]
    if member.link is not None:
        info = _info(member.path, 0o777, 0)
        info.type, info.linkname = tarfile.SYMTYPE, member.link
        layer.addfile(info)
    elif member.content is None:
        info = _info(member.path, member.mode, 0)
        info.type = tarfile.DIRTYPE
        layer.addfile(info)
    elif isinstance(member.content, bytes):
        stream = io.BytesIO(member.content)
        layer.addfile(_info(member.path, member.mode, len(member.content)), stream)
    else:
        with member.content.open("rb") as stream:
            layer.addfile(_info(member.path, member.mode, member.content.stat().st_size), stream)


def write_folder(folder: Path, target: Path) -> Path:
    """Write `folder`'s files, by their paths within it, as a tar that is the same for the same files. Returns `target`."""
    with tarfile.open(target, "w", format=tarfile.USTAR_FORMAT) as tar:
        for path in sorted(p for p in folder.rglob("*") if p.is_file()):
            with path.open("rb") as stream:
                tar.addfile(_info(str(path.relative_to(folder)), 0o644, path.stat().st_size), stream)
    return target


def _info(name: str, mode: int, size: int) -> tarfile.TarInfo:
    """Time 0, and owner 0 without names, on every machine."""
    info = tarfile.TarInfo(name)
    info.mode, info.size, info.mtime = mode, size, 0
    return info


def _json(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
