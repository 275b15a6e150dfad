from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from kubewright.artifacts import Artifact, Bundle, Cache, SourceConfig, Wanted, obtain, publish, published_name
from kubewright.artifacts.directory import binary_path, export, image_path, read_sums
from kubewright.errors import BadInput, Failed

WANTED = Wanted(component="runc", name="runc", version="1.5.2", arch="amd64")


@pytest.fixture
def made(tmp_path: Path) -> Bundle:
    """One binary in another cache."""
    cache = Cache(tmp_path / "other cache")
    with cache.lock("x"), cache.workplace("x") as place:
        (place / "file").write_bytes(b"runc" * 1000)
        entry = cache.add("x", place / "file", version="1.5.2", recipe="r")
    artifact = Artifact(
        component="runc",
        name="runc",
        version="1.5.2",
        says="1.5.2",
        arch="amd64",
        sha256=entry.sha256,
        size=entry.size,
        path=cache.blob(entry.sha256),
        zst_path=cache.zst(entry.sha256),
        zst_sha256=entry.zst_sha256,
        zst_size=entry.zst_size,
        source="gomod",
    )
    return Bundle(binaries=(artifact,), images=())


@pytest.fixture
def bundle(made: Bundle, tmp_path: Path) -> Path:
    """An offline folder with it, written by `export`."""
    folder = tmp_path / "bundle"
    export(made, folder)
    return folder


def test_files_for_hosts_are_named_by_their_content_and_written_once(made: Bundle, tmp_path: Path) -> None:
    folder, (artifact,) = tmp_path / "www" / "kubewright", made.binaries
    assert (publish(made, folder), publish(made, folder)) == (1, 0)
    assert [path.name for path in folder.iterdir()] == [published_name(artifact)] == [f"{artifact.sha256}.zst"]
    assert (folder / published_name(artifact)).read_bytes() == artifact.zst_path.read_bytes()


def test_a_torn_file_is_published_again(made: Bundle, tmp_path: Path) -> None:
    (tmp_path / published_name(made.binaries[0])).write_bytes(b"half")
    assert publish(made, tmp_path) == 1


def test_a_read_only_folder_is_named(made: Bundle, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(Failed, match="name a folder that you can write to"):
        publish(made, tmp_path / "file")


def take(folder: Path, cache: Cache) -> list[Artifact]:
    return obtain([WANTED], SourceConfig(kind="directory", directory=folder), cache, lambda _: None)


def test_an_exported_bundle_can_be_imported(bundle: Path, cache: Cache) -> None:
    (artifact,) = take(bundle, cache)
    assert artifact.path.read_bytes() == b"runc" * 1000 and artifact.source == "directory"
    assert list(read_sums(bundle)) == ["binaries/amd64/runc-1.5.2/runc.zst"]


def test_the_bundle_is_not_read_again(bundle: Path, cache: Cache) -> None:
    first = take(bundle, cache)
    (bundle / "binaries/amd64/runc-1.5.2/runc.zst").unlink()
    assert take(bundle, cache) == first


def test_a_plain_file_is_accepted_too(tmp_path: Path, cache: Cache) -> None:
    import hashlib

    path = tmp_path / "plain" / binary_path(WANTED)
    path.parent.mkdir(parents=True)
    path.write_bytes(b"plain")
    (tmp_path / "plain" / "SHA256SUMS").write_text(f"{hashlib.sha256(b'plain').hexdigest()} *./{binary_path(WANTED)}\n")
    assert take(tmp_path / "plain", cache)[0].path.read_bytes() == b"plain"


def test_a_changed_file_is_refused(bundle: Path, cache: Cache) -> None:
    (bundle / "binaries/amd64/runc-1.5.2/runc.zst").write_bytes(b"changed")
    with pytest.raises(Failed, match=r"the sum is wrong .*copy the bundle again"):
        take(bundle, cache)
    assert not (cache.root / "blobs").exists()


def test_a_missing_file_is_refused(bundle: Path, cache: Cache) -> None:
    (bundle / "binaries/amd64/runc-1.5.2/runc.zst").unlink()
    with pytest.raises(Failed, match="not there, though SHA256SUMS names it"):
        take(bundle, cache)


def test_a_file_without_a_sum_is_refused(bundle: Path, cache: Cache) -> None:
    (bundle / "SHA256SUMS").write_text("")
    with pytest.raises(Failed, match=r"names no binaries/amd64/runc-1\.5\.2/runc"):
        take(bundle, cache)


def test_a_folder_that_is_no_bundle_is_bad_input(tmp_path: Path, cache: Cache) -> None:
    with pytest.raises(BadInput, match=r"SHA256SUMS: cannot be read .*kubewright artifacts fetch --bundle FOLDER"):
        take(tmp_path, cache)


def test_image_paths_are_short() -> None:
    assert image_path("registry.k8s.io/coredns/coredns:v1.15.0", "arm64") == "images/arm64/coredns-v1.15.0.tar"


def test_a_bundle_can_hold_several_releases(made: Bundle, bundle: Path) -> None:
    (artifact,) = made.binaries
    other = dataclasses.replace(artifact, version="1.5.3")
    assert export(Bundle(binaries=(other,), images=()), bundle) == 2
    assert sorted(read_sums(bundle)) == ["binaries/amd64/runc-1.5.2/runc.zst", "binaries/amd64/runc-1.5.3/runc.zst"]


def test_a_read_only_folder_for_a_bundle_is_named(made: Bundle, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(Failed, match="name a folder that you can write to"):
        export(made, tmp_path / "file")
