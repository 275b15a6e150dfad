from __future__ import annotations

import hashlib
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from kubewright.artifacts import Cache, SourceConfig, obtain_images
from kubewright.errors import Failed
from kubewright.releases import DEFAULT

Upstream = Any  # conftest's
BASE = "/registry.k8s.io/v2/pause"
REFERENCE = f"registry.k8s.io/pause:{DEFAULT.pause}"


def digest(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()


@pytest.fixture
def registry(upstream: Upstream) -> Upstream:
    config, layer = b'{"architecture":"amd64"}', b"layer" * 100
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": {"digest": digest(config), "size": len(config)},
            "layers": [{"digest": digest(layer), "size": len(layer)}],
        }
    ).encode()
    index = {"manifests": [{"digest": digest(manifest), "platform": {"os": "linux", "architecture": "amd64"}}]}
    upstream.files[f"{BASE}/manifests/{DEFAULT.pause}"] = json.dumps(index).encode()
    upstream.files[f"{BASE}/manifests/{digest(manifest)}"] = manifest
    for blob in (config, layer):
        upstream.files[f"{BASE}/blobs/{digest(blob)}"] = blob
    return upstream


def pull(registry: Upstream, cache: Cache, lock: Path | None = None, arch: str = "amd64") -> Any:
    source = SourceConfig(kind="mirror", mirror=registry.base)
    (image,) = obtain_images(DEFAULT, arch, source, cache, lambda _: None, lock, names=("pause",))
    return image


def test_an_image_is_pulled_as_an_archive_that_names_it(registry: Upstream, cache: Cache, tmp_path: Path) -> None:
    lock = tmp_path / "artifacts.lock"
    image = pull(registry, cache, lock)
    with tarfile.open(image.path) as archive:
        names = archive.getnames()
        stream = archive.extractfile("index.json")
        assert stream is not None
        index = json.loads(stream.read())
        for name in names:
            if name.startswith("blobs/sha256/"):
                content = archive.extractfile(name)
                assert content is not None and digest(content.read()) == "sha256:" + name.rpartition("/")[2]
    assert index["manifests"][0]["annotations"]["io.containerd.image.name"] == image.reference == REFERENCE
    assert len(names) == 5 and REFERENCE in json.loads(lock.read_text())
    asked = len(registry.asked)
    assert pull(registry, cache, lock) == image and len(registry.asked) == asked


def test_a_tag_that_moved_is_refused(registry: Upstream, cache: Cache, tmp_path: Path) -> None:
    lock = tmp_path / "artifacts.lock"
    lock.write_text(json.dumps({REFERENCE: "0" * 64}))
    with pytest.raises(Failed, match="what was released has changed"):
        pull(registry, cache, lock)


def test_a_blob_that_is_not_its_digest_is_refused(registry: Upstream, cache: Cache) -> None:
    for path in list(registry.files):
        if "/blobs/" in path:
            registry.files[path] = b"other"
    with pytest.raises(Failed, match="the sum is wrong"):
        pull(registry, cache)
    assert not (cache.root / "blobs").exists()


def test_a_missing_architecture_is_refused(registry: Upstream, cache: Cache) -> None:
    with pytest.raises(Failed, match="no linux/arm64 image"):
        pull(registry, cache, arch="arm64")


def test_a_token_is_fetched_when_the_registry_asks_for_one(registry: Upstream, cache: Cache) -> None:
    challenge = f'Bearer realm="{registry.base}/token",service="registry.k8s.io"'
    registry.headers[f"{BASE}/manifests/{DEFAULT.pause}"] = {"WWW-Authenticate": challenge}
    registry.files["/token?service=registry.k8s.io"] = b'{"token": "t"}'
    assert pull(registry, cache).reference == REFERENCE
    assert registry.gets("/token?service=registry.k8s.io") == [""]
