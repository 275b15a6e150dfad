from __future__ import annotations

import pytest

from kubewright.artifacts import agnhost, catalogue
from kubewright.artifacts.gomod import says_version
from kubewright.artifacts.recipes import recipe_for, wrapper_go_mod
from kubewright.errors import Failed
from kubewright.releases import DEFAULT, SUPPORTED, Release

UPSTREAM = """module k8s.io/kubernetes

go 1.26.0

godebug default=go1.26

replace (
\tk8s.io/client-go => ./staging/src/k8s.io/client-go
\tk8s.io/api => ./staging/src/k8s.io/api
)
"""


@pytest.mark.parametrize("release", SUPPORTED, ids=lambda release: release.kubernetes)
def test_the_catalogue_has_everything_once_and_each_has_a_recipe(release: Release) -> None:
    wanted = catalogue(release, "amd64")
    assert len({(one.component, one.name) for one in wanted}) == len(wanted) == 23
    for one in (*wanted, agnhost(release, "amd64")):
        assert one.name in {program.name for program in recipe_for(one.component, one.version).programs}


def test_the_longest_build_comes_first() -> None:
    assert [one.component for one in catalogue(DEFAULT, "arm64")[:6]] == ["kubernetes"] * 6


def test_names_of_binaries_are_unique() -> None:
    names = [one.name for one in catalogue(DEFAULT, "amd64")]
    assert len(names) == len(set(names))


def test_the_wrapper_replaces_the_staging_folders_by_modules() -> None:
    text = wrapper_go_mod(recipe_for("kubernetes", "1.37.1"), UPSTREAM)
    assert text.splitlines() == [
        "module kubewright.invalid/build",
        "go 1.26.0",
        "godebug default=go1.26",
        "require k8s.io/kubernetes v1.37.1",
        "replace k8s.io/api => k8s.io/api v0.37.1",
        "replace k8s.io/client-go => k8s.io/client-go v0.37.1",
    ]


def test_an_old_go_line_does_not_bring_back_old_defaults() -> None:
    assert "go 1.24.0\n" in wrapper_go_mod(recipe_for("cni", "1.9.1-flannel1"), "module x\n\ngo 1.14\n")


def test_kubernetes_is_stamped_in_both_packages() -> None:
    flags = recipe_for("kubernetes", "1.37.1").ldflags
    for package in ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version"):
        for stamp in ("gitVersion=v1.37.1", "gitMajor=1", "gitMinor=37", "buildDate=1970-01-01T00:00:00Z"):
            assert f"-X {package}.{stamp}" in flags


def test_agnhost_is_built_from_the_newest_release_that_carries_it() -> None:
    assert recipe_for("agnhost", "2.66.1").modules == (("k8s.io/kubernetes", "v1.37.1"),)
    with pytest.raises(Failed, match="no supported Kubernetes release"):
        recipe_for("agnhost", "1.0")


def test_programs_with_c_are_linked_statically() -> None:
    for component, version in (("runc", DEFAULT.runc), ("flannel", DEFAULT.flannel)):
        assert "-extldflags -static" in recipe_for(component, version).ldflags


def test_an_unknown_component_is_refused() -> None:
    with pytest.raises(Failed, match=r"known: .*kubernetes"):
        recipe_for("docker", "17.12")


@pytest.mark.parametrize(
    ("output", "version", "right"),
    [
        ("Kubernetes v1.37.1\n", "1.37.1", True),
        ("runc version 1.5.2\nspec: 1.3.0\ngo: go1.26.6\n", "1.5.2", True),
        ("CoreDNS-1.15.0\nlinux/amd64, go1.26.6, ", "1.15.0", True),
        ("CoreDNS-1.15.01", "1.15.0", False),
        ("Kubernetes v1.37.10", "1.37.1", False),
        ("containerd 11.37.1", "1.37.1", False),
        ("etcd Version: 3.7.3.", "3.7.3", True),
        ("dev", "0.28.9", False),
    ],
)
def test_a_version_is_found_only_as_a_whole_word(output: str, version: str, right: bool) -> None:
    assert says_version(output, version) is right
