from __future__ import annotations

import pytest

from kubewright.errors import BAD_INPUT
from kubewright.releases import (
    DEFAULT,
    FLAGS,
    SUPPORTED,
    Present,
    Removed,
    UnknownRelease,
    Version,
    release_for,
    removed,
)


@pytest.mark.parametrize("text", ["1.37.1", "v1.37.1", " 1.37.1 ", "1.37.1-flannel1"])
def test_version_is_parsed(text: str) -> None:
    assert Version.parse(text) == Version(1, 37, 1)


@pytest.mark.parametrize("text", ["", "1", "one.two", "1.37.1.4", "1.x"])
def test_text_that_is_no_version_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a version"):
        Version.parse(text)


def test_versions_are_ordered_by_number() -> None:
    assert Version.parse("1.9.0") < Version.parse("1.10.0") < Version.parse("1.37.1")
    assert str(Version.parse("v1.37")) == "1.37.0" and Version.parse("1.37.1").line == "1.37"


def test_the_table_is_ordered_and_the_default_is_the_newest() -> None:
    versions = [release.version for release in SUPPORTED]
    assert versions == sorted(versions) and DEFAULT is SUPPORTED[-1] and DEFAULT.kubernetes == "1.37.1"


def test_etcd_can_be_upgraded_along_the_table() -> None:
    """An upgrade to 3.7 needs 3.6.11 or later."""
    for release in SUPPORTED:
        etcd = Version.parse(release.etcd)
        assert etcd >= (Version(3, 7) if release.version >= Version(1, 37) else Version(3, 6, 11))


@pytest.mark.parametrize("version", ["1.37.1", "v1.37.1"])
def test_a_release_is_found(version: str) -> None:
    assert release_for(version).etcd == "3.7.3"


def test_an_unknown_release_names_the_supported_ones() -> None:
    with pytest.raises(UnknownRelease) as caught:
        release_for("1.9.0")
    assert "1.9.0" in str(caught.value) and "1.35.4, 1.36.3, 1.37.0, 1.37.1" in str(caught.value)
    assert isinstance(caught.value, KeyError) and caught.value.exit_code == BAD_INPUT


GONE = [
    ("kube-apiserver", "--admission-control", "1.9.11", "1.10.0"),
    ("kube-apiserver", "--etcd-quorum-read", "1.12.0", "1.13.0"),
    ("kube-apiserver", "--basic-auth-file", "1.18.0", "1.19.0"),
    ("kube-apiserver", "--kubelet-https", "1.21.0", "1.22.0"),
    ("kube-apiserver", "--insecure-port", "1.23.0", "1.24.0"),
    ("kube-apiserver", "--insecure-bind-address", "1.23.0", "1.24.0"),
    ("kube-apiserver", "--port", "1.23.0", "1.24.0"),
    ("kube-apiserver", "--address", "1.23.0", "1.24.0"),
    ("kube-apiserver", "--enable-admission-plugins=NodeRestriction,PodSecurityPolicy", "1.24.0", "1.25.0"),
    ("kube-apiserver", "--service-account-api-audiences", "1.24.0", "1.25.0"),
    ("kube-apiserver", "--master-service-namespace", "1.25.0", "1.26.0"),
    ("kube-apiserver", "--enable-admission-plugins=SecurityContextDeny", "1.29.0", "1.30.0"),
    ("kube-apiserver", "--cloud-config", "1.32.0", "1.33.0"),
    ("kube-controller-manager", "--port", "1.23.0", "1.24.0"),
    ("kube-controller-manager", "--address", "1.23.0", "1.24.0"),
    ("kube-controller-manager", "--experimental-cluster-signing-duration", "1.24.0", "1.25.0"),
    ("kube-controller-manager", "--deleting-pods-qps", "1.24.0", "1.25.0"),
    ("kube-controller-manager", "--deleting-pods-burst", "1.24.0", "1.25.0"),
    ("kube-controller-manager", "--register-retry-count", "1.24.0", "1.25.0"),
    ("kube-controller-manager", "--enable-taint-manager", "1.26.0", "1.27.0"),
    ("kube-controller-manager", "--pod-eviction-timeout", "1.26.0", "1.27.0"),
    ("kube-controller-manager", "--volume-host-cidr-denylist", "1.30.0", "1.31.0"),
    ("kube-scheduler", "--port", "1.23.0", "1.24.0"),
    ("kube-scheduler", "--address", "1.23.0", "1.24.0"),
    ("kubelet", "--allow-privileged", "1.14.0", "1.15.0"),
    ("kubelet", "--network-plugin", "1.23.0", "1.24.0"),
    ("kubelet", "--cni-bin-dir", "1.23.0", "1.24.0"),
    ("kubelet", "--container-runtime", "1.26.0", "1.27.0"),
    ("kubelet", "--master-service-namespace", "1.26.0", "1.27.0"),
    ("kubelet", "--keep-terminated-pod-volumes", "1.30.0", "1.31.0"),
    ("kubelet", "--iptables-drop-bit", "1.30.0", "1.31.0"),
    ("kubelet", "--iptables-masquerade-bit", "1.30.0", "1.31.0"),
    ("kubelet", "--cloud-config", "1.33.0", "1.34.0"),
    ("kubelet", "--pod-infra-container-image=registry.k8s.io/pause:3.10", "1.34.9", "1.35.0"),
    ("kubelet", "--containerd", "1.36.3", "1.37.0"),
    ("kubelet", "--storage-driver-db", "1.36.3", "1.37.1"),
    ("kube-proxy", "--proxy-mode=ipvs", "1.42.0", "1.43.0"),
    ("etcd", "--enable-v2", "3.5.26", "3.6.0"),
    ("etcd", "--proxy-readtimeout", "3.5.26", "3.6.0"),
    ("etcd", "--experimental-initial-corrupt-check", "3.6.14", "3.7.3"),
]


@pytest.mark.parametrize(("component", "flag", "last", "first_without"), GONE)
def test_a_flag_is_removed_from_its_version_on(component: str, flag: str, last: str, first_without: str) -> None:
    assert removed(component, flag, last) is None
    gone = removed(component, flag, first_without)
    assert gone is not None and gone.replacement and gone.source
    assert Version.parse(gone.since).line == Version.parse(first_without).line


def test_every_removed_flag_of_the_table_is_in_this_test() -> None:
    covered = {(component, flag.partition("=")[0]) for component, flag, _, _ in GONE}
    cadvisor = {flag for flag, rows in FLAGS["kubelet"].items() if rows[-1].since == "1.37"}
    for component, table in FLAGS.items():
        for flag in set(table) - cadvisor - {"--cloud-provider"}:
            name = flag.partition("=")[0].rstrip("*")
            assert any(component == c and f.startswith(name) for c, f in covered), (component, flag)


@pytest.mark.parametrize("flag", ["--allow-privileged", "allow-privileged=true", "--unheard-of"])
def test_flags_outside_the_table_are_not_refused(flag: str) -> None:
    assert removed("kube-apiserver", flag, "1.37.1") is None


def test_a_flag_is_found_in_every_spelling() -> None:
    for flag in ("pod-infra-container-image", "--pod-infra-container-image", "--pod-infra-container-image=x"):
        assert removed("kubelet", flag, Version(1, 37, 1)) is not None


def test_histories_are_in_order() -> None:
    for table in FLAGS.values():
        for flag, rows in table.items():
            versions = [row.version for row in rows]
            assert versions == sorted(set(versions)) and flag.startswith("--")
            assert all(isinstance(row.state, Present | Removed) for row in rows)
