"""Archives of images: which are accepted, what they hold, and that they are compressed once."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from kubewright.artifacts.archives import Unusable, name_of, obtain, read
from kubewright.artifacts.cache import Cache
from kubewright.artifacts.images import Image, Member, write_image
from kubewright.artifacts.registry import _write_oci


def docker(path: Path, reference: str = "registry.example.org/app:1", arch: str = "amd64") -> Path:
    members = (Member(path="app", content=b"app"),)
    write_image(Image(reference=reference, arch=arch, members=members, entrypoint=("/app",)), path)
    return path


def tar(path: Path, files: dict[str, Any]) -> Path:
    with tarfile.open(path, "w") as archive:
        for name, value in files.items():
            body = value if isinstance(value, bytes) else json.dumps(value).encode()
            info = tarfile.TarInfo(name)
            info.size = len(body)
            archive.addfile(info, io.BytesIO(body))
    return path


def oci(path: Path, reference: str, arch: str = "arm64") -> Path:
    """As `kubewright` writes what it pulls."""
    blobs = {hashlib.sha256(body).hexdigest(): body for body in (json.dumps({"architecture": arch}).encode(), b"layer")}
    files = {}
    for sha, body in blobs.items():
        files[sha] = path.with_name(sha)
        files[sha].write_bytes(body)
    config, layer = ({"digest": f"sha256:{sha}"} for sha in blobs)
    _write_oci(path, reference, {"config": config, "layers": [layer]}, files)
    return path


@pytest.mark.parametrize(
    ("written", "complete"),
    [
        ("busybox", "docker.io/library/busybox:latest"),
        ("busybox:1.37", "docker.io/library/busybox:1.37"),
        ("rancher/app:v1", "docker.io/rancher/app:v1"),
        ("index.docker.io/busybox:1", "docker.io/library/busybox:1"),
        ("localhost/app:1", "localhost/app:1"),
        ("registry.example.org:5000/team/app:1", "registry.example.org:5000/team/app:1"),
    ],
)
def test_an_image_of_docker_save_has_its_complete_name(tmp_path: Path, written: str, complete: str) -> None:
    found = read(docker(tmp_path / "app.tar", written))
    assert (found.references, sorted(found.arches)) == ((complete,), ["amd64"])


def test_an_oci_layout_has_its_name_and_architecture(tmp_path: Path) -> None:
    found = read(oci(tmp_path / "app.tar", "registry.example.org/app:1"))
    assert (found.references, sorted(found.arches)) == (("registry.example.org/app:1",), ["arm64"])


CONFIG = {"architecture": "amd64"}
BAD: dict[str, tuple[Any, str]] = {
    "text": (b"not a tar", "not a tar archive, or a compressed or incomplete one"),
    "gzip": (b"\x1f\x8b\x08" + bytes(600), "not a tar archive, or a compressed or incomplete one"),
    "no manifest": ({"app": b"1"}, "a tar archive without a manifest"),
    "no image": ({"manifest.json": []}, "an archive without an image"),
    "a broken manifest": ({"manifest.json": b"{"}, "an archive whose manifest.json is not JSON"),
    "another manifest": ({"manifest.json": {"a": 1}}, "an archive whose manifest has another form than Docker's and OCI's"),
    "no name": (
        {"manifest.json": [{"Config": "c", "RepoTags": None, "Layers": []}], "c": CONFIG},
        "an archive with an image that has no name",
    ),
    "no layer": (
        {"manifest.json": [{"Config": "c", "RepoTags": ["a:1"], "Layers": ["layer.tar"]}], "c": CONFIG},
        "an archive without layer.tar, which its manifest names",
    ),
    "a name for a shell": (
        {"manifest.json": [{"Config": "c", "RepoTags": ["a;reboot"], "Layers": []}], "c": CONFIG},
        "an archive with an image whose name is not valid (a;reboot)",
    ),
    "OCI with a tag alone": (
        {
            "oci-layout": {},
            "index.json": {"manifests": [{"digest": "sha256:1", "annotations": {"org.opencontainers.image.ref.name": "latest"}}]},
        },
        "an archive with an image that has no complete name, like registry.example.org/app:1 (latest)",
    ),
    "OCI without blobs": (
        {
            "oci-layout": {},
            "index.json": {"manifests": [{"digest": "sha256:1", "annotations": {"io.containerd.image.name": "a.b/c:1"}}]},
        },
        "an archive without the layers of a.b/c:1",
    ),
}


@pytest.mark.parametrize("title", BAD)
def test_an_archive_that_containerd_could_not_import_is_refused_with_the_reason(tmp_path: Path, title: str) -> None:
    content, why = BAD[title]
    path = tmp_path / "bad.tar"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        tar(path, content)
    with pytest.raises(Unusable) as refused:
        read(path)
    assert str(refused.value) == why


def test_a_missing_archive_and_a_cut_one_are_refused(tmp_path: Path) -> None:
    with pytest.raises(Unusable, match="no such file"):
        read(tmp_path / "missing.tar")
    path = docker(tmp_path / "app.tar")
    path.write_bytes(path.read_bytes()[:700])
    with pytest.raises(Unusable):
        read(path)


def test_an_archive_is_compressed_once_and_again_when_it_changes(tmp_path: Path) -> None:
    cache, said = Cache(tmp_path / "cache"), list[str]()
    path = docker(tmp_path / "app.tar")
    first = obtain(path, cache, said.append)
    assert obtain(path, cache, said.append) == first
    assert (first.name, first.size, first.sha256) == ("app", path.stat().st_size, hashlib.sha256(path.read_bytes()).hexdigest())
    assert first.zst_path.stat().st_size == first.zst_size
    docker(path, "registry.example.org/app:2")
    assert obtain(path, cache, said.append).sha256 != first.sha256
    assert said == ["app.tar: compressing"] * 2


def test_a_preview_reads_an_archive_and_writes_nothing(tmp_path: Path) -> None:
    path = docker(tmp_path / "app.tar")
    found = obtain(path, Cache(tmp_path / "cache"), print, keep=False)
    assert found.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize(
    ("file", "name"), [("app.tar", "app"), ("a b;c.tar", "a-b-c"), ("..tar", "archive"), ("x.tar.1", "x.tar.1")]
)
def test_an_archive_is_called_like_its_file(file: str, name: str) -> None:
    assert name_of(Path("/somewhere") / file) == name
