from __future__ import annotations

import hashlib
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from kubewright.artifacts import Artifact
from kubewright.artifacts.image_recipes import BUSYBOX, image, references
from kubewright.artifacts.images import Image, Member, write_image
from kubewright.releases import DEFAULT


def artifact(path: Path, name: str) -> Artifact:
    return Artifact(
        component=name,
        name=name,
        version="1",
        says="1",
        arch="amd64",
        sha256="a" * 64,
        size=path.stat().st_size,
        path=path,
        zst_path=path,
        zst_sha256="b" * 64,
        zst_size=1,
        source="gomod",
    )


def reparse(tar: Path) -> tuple[dict[str, Any], dict[str, Any], dict[str, tarfile.TarInfo], str]:
    """manifest entry, config, members of the layer, digest of the layer."""
    with tarfile.open(tar) as archive:

        def read(name: str) -> bytes:
            stream = archive.extractfile(name)
            assert stream is not None
            return stream.read()

        (manifest,) = json.loads(read("manifest.json"))
        config = json.loads(read(manifest["Config"]))
        assert manifest["Config"] == hashlib.sha256(read(manifest["Config"])).hexdigest() + ".json"
        layer = read(manifest["Layers"][0])
    inner = tar.with_suffix(".inner")
    inner.write_bytes(layer)
    with tarfile.open(inner) as opened:
        members = {info.name: info for info in opened}
    return manifest, config, members, hashlib.sha256(layer).hexdigest()


@pytest.fixture
def binary(tmp_path: Path) -> Path:
    path = tmp_path / "binary"
    path.write_bytes(b"\x7fELF" + b"x" * 5000)
    return path


def test_pause_runs_as_its_own_user(tmp_path: Path, binary: Path) -> None:
    tar, reference = tmp_path / "pause.tar", references(DEFAULT)["pause"]
    write_image(image("pause", reference, artifact(binary, "pause")), tar)
    manifest, config, members, digest = reparse(tar)
    assert manifest["RepoTags"] == [reference] == ["registry.k8s.io/pause:3.10.2"]
    assert config["rootfs"] == {"diff_ids": [f"sha256:{digest}"], "type": "layers"}
    assert config["config"]["User"] == "65535:65535" and config["config"]["Entrypoint"] == ["/pause"]
    assert (config["architecture"], config["os"]) == ("amd64", "linux")
    assert members["pause"].mode == 0o755 and members["pause"].size == 5004


def test_coredns_has_a_writable_tmp_and_its_ports(tmp_path: Path, binary: Path) -> None:
    tar = tmp_path / "coredns.tar"
    write_image(image("coredns", "registry.k8s.io/coredns/coredns:v1", artifact(binary, "coredns")), tar)
    _, config, members, _ = reparse(tar)
    assert config["config"]["Entrypoint"] == ["/coredns"] and members["tmp"].mode == 0o1777
    assert set(config["config"]["ExposedPorts"]) == {"53/tcp", "53/udp"}


@pytest.mark.skipif(not BUSYBOX.exists(), reason="busybox-static is not installed")
def test_agnhost_has_a_shell_and_tools(tmp_path: Path, binary: Path) -> None:
    tar = tmp_path / "agnhost.tar"
    write_image(image("agnhost", "registry.k8s.io/e2e-test-images/agnhost:2", artifact(binary, "agnhost")), tar)
    _, _, members, _ = reparse(tar)
    for applet in ("sh", "tar", "wget", "nslookup", "cat", "sleep"):
        assert members[f"bin/{applet}"].linkname == "busybox"
    assert members["bin/busybox"].isfile() and members["etc/passwd"].isfile() and members["tmp"].mode == 0o1777
    assert list(members) == sorted(members)


def test_the_same_input_gives_the_same_bytes(tmp_path: Path, binary: Path) -> None:
    members = (Member(path="b", content=b"2", mode=0o644), Member(path="a", content=binary), Member(path="l", link="a"))
    one = Image(reference="x/y:1", arch="amd64", members=members, entrypoint=("/a",))
    two = Image(reference="x/y:1", arch="amd64", members=members[::-1], entrypoint=("/a",))
    write_image(one, tmp_path / "one.tar")
    binary.touch()
    write_image(two, tmp_path / "two.tar")
    assert (tmp_path / "one.tar").read_bytes() == (tmp_path / "two.tar").read_bytes()
    with tarfile.open(tmp_path / "one.tar") as archive:
        assert all((info.mtime, info.uid, info.gid, info.uname) == (0, 0, 0, "") for info in archive)


def test_nothing_is_left_beside_the_archive(tmp_path: Path, binary: Path) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    write_image(image("pause", "p:1", artifact(binary, "pause")), folder / "p.tar")
    assert [path.name for path in folder.iterdir()] == ["p.tar"]
