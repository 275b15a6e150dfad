"""A preview's artifacts: it reads only the cache; nothing is built, fetched or written."""

from __future__ import annotations

import socket
import subprocess
from pathlib import Path

import pytest

from kubewright.artifacts import UNKNOWN, Bundle, Cache, Missing, SourceConfig, at_hand, catalogue, gomod, obtain_all
from kubewright.artifacts.at_hand import SECONDS
from kubewright.artifacts.image_recipes import references
from kubewright.artifacts.recipes import recipe_for
from kubewright.artifacts.sources import IMAGES, inside
from kubewright.errors import BadInput, Failed
from kubewright.releases import DEFAULT, release_for
from tests.unit.artifacts.test_sources import WANTED, built, fill

__all__ = ["built"]


@pytest.fixture(autouse=True)
def _nothing_but_the_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gomod, "machine_arch", lambda: "amd64")
    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("the network was asked"))
    monkeypatch.setattr(subprocess, "Popen", lambda *_a, **_k: pytest.fail("a program was started"))


def _missing(bundle: Bundle) -> Missing:
    assert bundle.missing is not None
    return bundle.missing


def test_with_everything_cached_the_bundle_is_the_one_of_apply(built: Cache) -> None:
    for config in (SourceConfig(), SourceConfig(kind="gomod")):
        found = at_hand(DEFAULT, "amd64", config, cache=built)
        assert found == obtain_all(DEFAULT, "amd64", config, pytest.fail, cache=built, test_images=False)
        assert found.missing is None


def test_with_nothing_cached_every_sum_is_unknown_and_every_name_is_listed(cache: Cache) -> None:
    bundle = at_hand(DEFAULT, "amd64", SourceConfig(), cache=cache)
    assert {binary.sha256 for binary in bundle.binaries} | {image.sha256 for image in bundle.images} == {UNKNOWN}
    assert [b.name for b in bundle.binaries] == [w.name for w in catalogue(DEFAULT, "amd64")]
    assert _missing(bundle).names[0] == f"kube-apiserver {DEFAULT.kubernetes} amd64"
    assert len(_missing(bundle).names) == len(WANTED) + 2
    assert not cache.root.exists(), "nothing was written"


def test_another_version_lacks_only_the_different_artifacts(built: Cache) -> None:
    """For a cluster built from source here, the artifacts that both releases share are cached."""
    other = release_for("1.37.0")
    bundle = at_hand(other, "amd64", SourceConfig(), cache=built)
    shared = {(w.component, w.version) for w in WANTED}
    lacking = [str(w) for w in catalogue(other, "amd64") if (w.component, w.version) not in shared]
    assert "kubelet 1.37.0 amd64" in lacking
    assert [name for name in _missing(bundle).names if not name.startswith("registry")] == lacking
    assert bundle.binary("runc").sha256 != UNKNOWN


def test_the_work_to_get_it_is_told_for_each_source(cache: Cache, tmp_path: Path) -> None:
    def takes(config: SourceConfig) -> str:
        return _missing(at_hand(DEFAULT, "amd64", config, cache=cache)).takes

    minutes = "about 19 min on two cores"
    assert takes(SourceConfig(kind="gomod")).startswith("building kubernetes, etcd, containerd, runc, cni,")
    assert takes(SourceConfig(kind="gomod")).endswith(minutes)
    # Kubernetes' six, one archive or binary of each of eight others, two images.
    assert takes(SourceConfig(kind="release")) == "downloading 16 files from upstream, and building kube2sky"
    mirrored = "downloading 16 files from https://mirror.test, and building kube2sky"
    assert takes(SourceConfig(kind="mirror", mirror="https://mirror.test")) == mirrored
    both = takes(SourceConfig())
    assert both.startswith("downloading 16 files from upstream; or, where upstream does not answer, building ")
    assert both.endswith(minutes)


def test_only_the_list_of_an_offline_folder_is_read(cache: Cache, tmp_path: Path) -> None:
    from kubewright.artifacts.directory import binary_path, image_path

    paths = [binary_path(w) for w in WANTED] + [image_path(references(DEFAULT)[name], "amd64") for name in IMAGES]
    (tmp_path / "SHA256SUMS").write_text("".join(f"{'a' * 64}  {path}.zst\n" for path in paths))
    config = SourceConfig(kind="directory", directory=tmp_path)
    assert _missing(at_hand(DEFAULT, "amd64", config, cache=cache)).takes == f"taking {len(paths)} files from {tmp_path}"
    with pytest.raises(Failed, match="names no binaries/arm64/"):
        at_hand(DEFAULT, "arm64", config, cache=cache)


@pytest.mark.parametrize("config", [SourceConfig(kind="mirror"), SourceConfig(kind="directory")])
def test_an_incomplete_source_is_bad_input(config: SourceConfig, cache: Cache) -> None:
    with pytest.raises(BadInput):
        at_hand(DEFAULT, "amd64", config, cache=cache)


def test_the_command_gets_exactly_that(cache: Cache, tmp_path: Path) -> None:
    def command(config: SourceConfig, arch: str = "amd64", lock: Path | None = None) -> str:
        return _missing(at_hand(DEFAULT, arch, config, lock, cache=cache)).command

    begin = f"kubewright artifacts fetch --version {DEFAULT.kubernetes}"
    assert command(SourceConfig()) == begin
    assert command(SourceConfig(), "arm64") == f"{begin} --arch arm64"
    lock = tmp_path / "artifacts.lock"
    assert command(SourceConfig(kind="gomod"), lock=lock) == f"{begin} --source gomod"
    mirror = SourceConfig(kind="mirror", mirror="https://m.test")
    assert command(mirror, lock=lock) == f"{begin} --source mirror --mirror https://m.test --lock {lock}"


def test_nothing_is_pinned_by_a_preview_and_a_pin_counts(cache: Cache, tmp_path: Path) -> None:
    from kubewright.artifacts.upstream import published

    lock = tmp_path / "artifacts.lock"
    for item in WANTED:
        fill(cache, f"release-{item.key}", "a" * 64, item.key.encode())
    config = SourceConfig(kind="release")
    assert at_hand(DEFAULT, "amd64", config, lock, cache=cache).binary("runc").sha256 != UNKNOWN
    assert not lock.exists()
    runc = next(w for w in WANTED if w.name == "runc")
    lock.write_text(f'{{"{published(runc).address}": "{"b" * 64}"}}')
    assert at_hand(DEFAULT, "amd64", config, lock, cache=cache).binary("runc").sha256 == UNKNOWN


def test_auto_assumes_the_source_that_supplied_most_before(cache: Cache) -> None:
    kubelet = next(w for w in WANTED if w.name == "kubelet")
    fill(cache, f"gomod-{kubelet.key}", recipe_for("kubernetes", DEFAULT.kubernetes).digest, b"built")
    bundle = at_hand(DEFAULT, "amd64", SourceConfig(), cache=cache)
    assert bundle.binary("kubelet").sha256 != UNKNOWN
    assert bundle.binary("kubectl").sha256 == UNKNOWN


def test_every_components_build_has_a_time() -> None:
    components = {w.component for w in (*WANTED, *(inside(name, DEFAULT, "amd64") for name in IMAGES))}
    assert components == set(SECONDS)
