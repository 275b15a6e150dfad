from __future__ import annotations

from pathlib import Path

import pytest

from kubewright.artifacts import Cache, SourceConfig, agnhost, catalogue, gomod, obtain_all
from kubewright.artifacts.image_recipes import digest
from kubewright.artifacts.model import SourceKind
from kubewright.artifacts.recipes import recipe_for
from kubewright.artifacts.sources import image_source, inside, resolve, source_of
from kubewright.releases import DEFAULT

WANTED = catalogue(DEFAULT, "amd64")


def fill(cache: Cache, key: str, recipe: str, content: bytes) -> str:
    with cache.lock("fill"), cache.workplace("fill") as place:
        (place / "file").write_bytes(content)
        return cache.add(key, place / "file", version="1", recipe=recipe).sha256


@pytest.fixture
def built(cache: Cache) -> Cache:
    """A cache in which everything of the default release was built."""
    from kubewright.artifacts import Wanted

    pause = Wanted(component="pause", name="pause", version=DEFAULT.pause, arch="amd64")
    sums = {}
    for one in (*WANTED, agnhost(DEFAULT, "amd64"), pause):
        recipe = recipe_for(one.component, one.version).digest
        sums[one.name] = fill(cache, f"gomod-{one.key}", recipe, one.key.encode())
    versions = {"pause": DEFAULT.pause, "coredns": DEFAULT.coredns, "agnhost": DEFAULT.agnhost}
    for name, version in versions.items():
        fill(cache, f"image-gomod-{name}-{version}-amd64", digest(name, sums[name]), name.encode())
    return cache


def test_with_everything_cached_nothing_is_built_and_no_network_is_asked(built: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kubewright.artifacts.sources._upstream_answers", lambda _: pytest.fail("the network was asked"))
    monkeypatch.setattr(gomod, "find_go", lambda: pytest.fail("a build was begun"))
    bundle = obtain_all(DEFAULT, "amd64", SourceConfig(), pytest.fail, cache=built)
    assert len(bundle.binaries) == len(WANTED) and len(bundle.images) == 3
    assert bundle.binary("kubelet").path.read_bytes() == b"kubernetes-kubelet-1.37.1-amd64"
    assert bundle.image("coredns").reference == f"registry.k8s.io/coredns/coredns:v{DEFAULT.coredns}"
    for missing in (bundle.binary, bundle.image):
        with pytest.raises(KeyError, match="nothing"):
            missing("nothing")


def test_the_test_image_is_left_out_on_request(built: Cache) -> None:
    bundle = obtain_all(DEFAULT, "amd64", SourceConfig(kind="gomod"), pytest.fail, cache=built, test_images=False)
    assert [image.reference.rpartition("/")[2].partition(":")[0] for image in bundle.images] == ["pause", "coredns"]


def test_images_of_add_ons_are_obtained_on_request_only(built: Cache) -> None:
    wanted = inside("metrics-server", DEFAULT, "amd64")
    sha256 = fill(built, f"gomod-{wanted.key}", recipe_for("metrics-server", wanted.version).digest, b"program")
    fill(built, f"image-gomod-metrics-server-{wanted.version}-amd64", digest("metrics-server", sha256), b"image")
    config = SourceConfig(kind="gomod")
    bundle = obtain_all(DEFAULT, "amd64", config, pytest.fail, cache=built, test_images=False, addons=("metrics-server", "mine"))
    assert bundle.image("metrics-server").path.read_bytes() == b"image" and len(bundle.images) == 3


@pytest.mark.parametrize(("kind", "expected"), [("release", "gomod"), ("mirror", "gomod"), ("directory", "directory")])
def test_an_image_that_no_registry_has_is_built_unless_a_bundle_has_it(kind: SourceKind, expected: str) -> None:
    config = SourceConfig(kind=kind)
    assert image_source("local-path-helper", config).kind == expected
    assert image_source("traefik", config) == config


@pytest.mark.parametrize(("answers", "kind"), [(True, "release"), (False, "gomod")])
def test_auto_takes_releases_where_upstream_answers(
    cache: Cache, answers: bool, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kubewright.artifacts.sources._upstream_answers", lambda _: answers)
    assert resolve(SourceConfig(), WANTED, cache).kind == kind


def test_auto_prefers_cached_artifacts(built: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kubewright.artifacts.sources._upstream_answers", lambda _: pytest.fail("asked"))
    assert resolve(SourceConfig(), WANTED, built).kind == "gomod"
    for one in WANTED:
        fill(built, f"release-{one.key}", "0" * 64, b"x")
    assert resolve(SourceConfig(), WANTED, built).kind == "release"


def test_an_explicit_source_is_used_unchanged(cache: Cache, tmp_path: Path) -> None:
    for given in (SourceConfig(kind="directory", directory=tmp_path), SourceConfig(kind="mirror", mirror="http://m")):
        assert resolve(given, WANTED, cache) is given


@pytest.mark.parametrize(
    ("given", "used"),
    [("auto", "gomod"), ("release", "gomod"), ("mirror", "gomod"), ("gomod", "gomod"), ("directory", "directory")],
)
def test_a_program_of_our_own_is_built_unless_a_directory_has_it(given: SourceKind, used: str) -> None:
    ours = {item.name: source_of(item, SourceConfig(kind=given)).kind for item in WANTED}
    assert ours.pop("kube2sky") == used
    assert set(ours.values()) == {given}


def test_a_cluster_without_skydns_needs_no_build_of_kube2sky(cache: Cache) -> None:
    without = catalogue(DEFAULT, "amd64", skydns=False)
    assert [item.name for item in WANTED if item not in without] == ["kube2sky"]
    for one in without:
        fill(cache, f"release-{one.key}", "0" * 64, b"x")
    assert resolve(SourceConfig(), WANTED, cache).kind == "release"
