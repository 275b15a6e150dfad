"""The sources `release` and `mirror`, against a server that serves upstream's layout on this machine."""

from __future__ import annotations

import hashlib
import json
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kubewright.artifacts import Cache, SourceConfig, Wanted, agnhost, catalogue, obtain
from kubewright.artifacts.upstream import published, sum_for, through_mirror
from kubewright.errors import BadInput, Failed
from kubewright.releases import DEFAULT

Upstream = Any  # conftest's; not importable by name under importlib mode
BIG = random.Random(1).randbytes(3_000_000)  # noqa: S311
APISERVER = "/dl.k8s.io/v1.37.1/bin/linux/amd64/kube-apiserver"
WANTED = Wanted(component="kubernetes", name="kube-apiserver", version="1.37.1", arch="amd64")
ETCD_FOLDER = "/github.com/etcd-io/etcd/releases/download/v3.7.3"


@pytest.fixture
def mirror(upstream: Upstream) -> SourceConfig:
    upstream.publish(APISERVER, BIG, text="{sha}")
    return SourceConfig(kind="mirror", mirror=upstream.base)


def left_over(cache: Cache) -> list[str]:
    """The cache's files with content."""
    return sorted(
        str(path.relative_to(cache.root))
        for name in ("blobs", "index", "work", "partial")
        for path in (cache.root / name).rglob("*")
        if path.is_file()
    )


def test_a_binary_is_fetched_checked_and_pinned(
    upstream: Upstream, mirror: SourceConfig, cache: Cache, said: list[str], tmp_path: Path
) -> None:
    lock = tmp_path / "artifacts.lock"
    (artifact,) = obtain([WANTED], mirror, cache, said.append, lock)
    assert artifact.path.read_bytes() == BIG and artifact.sha256 == hashlib.sha256(BIG).hexdigest()
    assert artifact.path.stat().st_mode & 0o111 and artifact.source == "mirror" and artifact.says == "1.37.1"
    assert json.loads(lock.read_text()) == {"https://dl.k8s.io/v1.37.1/bin/linux/amd64/kube-apiserver": artifact.sha256}
    asked = len(upstream.asked)
    assert obtain([WANTED], mirror, cache, said.append, lock) == [artifact]
    assert len(upstream.asked) == asked, "the second time nobody is asked"


def test_an_archive_is_fetched_once_for_all_its_binaries(
    upstream: Upstream, cache: Cache, said: list[str], make_tar_gz: Callable[[dict[str, bytes]], bytes]
) -> None:
    stem = "etcd-v3.7.3-linux-amd64"
    archive = make_tar_gz({f"{stem}/{name}": name.encode() * 9 for name in ("README.md", "etcd", "etcdctl", "etcdutl")})
    upstream.publish(f"{ETCD_FOLDER}/{stem}.tar.gz", archive, sums="SHA256SUMS", text="0" * 64 + "  x\n{sha}  {name}\n")
    wanted = [one for one in catalogue(DEFAULT, "amd64") if one.component == "etcd"]
    found = obtain(wanted, SourceConfig(kind="mirror", mirror=upstream.base), cache, said.append)
    assert [one.path.read_bytes() for one in found] == [one.name.encode() * 9 for one in wanted]
    assert len(upstream.gets(".tar.gz")) == 1 and not cache.has_partial()


def test_a_wrong_sum_is_refused_and_nothing_kept(
    upstream: Upstream, mirror: SourceConfig, cache: Cache, said: list[str], tmp_path: Path
) -> None:
    upstream.files[APISERVER] = BIG[:-1] + b"!"
    with pytest.raises(Failed, match=r"kube-apiserver: the sum is wrong .* use another --source"):
        obtain([WANTED], mirror, cache, said.append, tmp_path / "lock")
    assert left_over(cache) == [] and not (tmp_path / "lock").exists()


def test_a_missing_file_says_what_to_check(upstream: Upstream, mirror: SourceConfig, cache: Cache, said: list[str]) -> None:
    del upstream.files[APISERVER]
    with pytest.raises(Failed, match=r"answers 404; check that this version was released"):
        obtain([WANTED], mirror, cache, said.append)
    assert left_over(cache) == []


def test_nothing_is_fetched_without_a_sum(upstream: Upstream, mirror: SourceConfig, cache: Cache, said: list[str]) -> None:
    del upstream.files[APISERVER + ".sha256"]
    with pytest.raises(Failed, match=r"kube-apiserver\.sha256: the server answers 404"):
        obtain([WANTED], mirror, cache, said.append)
    upstream.files[APISERVER + ".sha256"] = b"<html>not a sum</html>"
    with pytest.raises(Failed, match="nothing is installed without a sum"):
        obtain([WANTED], mirror, cache, said.append)
    assert upstream.gets("kube-apiserver") == [] and left_over(cache) == []


def test_a_cut_connection_is_resumed_where_it_broke(
    upstream: Upstream, mirror: SourceConfig, cache: Cache, said: list[str]
) -> None:
    upstream.cuts[APISERVER] = [1_000_000, 500_000]
    (artifact,) = obtain([WANTED], mirror, cache, said.append)
    assert artifact.path.read_bytes() == BIG
    assert upstream.gets("kube-apiserver") == ["", "bytes=1000000-", "bytes=1500000-"]
    assert sum("the connection broke" in line for line in said) == 2


def test_without_ranges_a_cut_download_starts_again(
    upstream: Upstream, mirror: SourceConfig, cache: Cache, said: list[str]
) -> None:
    upstream.takes_range, upstream.cuts[APISERVER] = False, [1_000_000]
    (artifact,) = obtain([WANTED], mirror, cache, said.append)
    assert artifact.path.read_bytes() == BIG


def test_a_connection_that_keeps_breaking_is_an_error_and_the_next_run_resumes(
    upstream: Upstream, mirror: SourceConfig, cache: Cache, said: list[str]
) -> None:
    upstream.cuts[APISERVER] = [200_000] * 4
    with pytest.raises(Failed, match=r"cannot be fetched .*what was received is kept"):
        obtain([WANTED], mirror, cache, said.append)
    assert left_over(cache) == [f"partial/{hashlib.sha256(BIG).hexdigest()}"]
    (artifact,) = obtain([WANTED], mirror, cache, said.append)
    assert upstream.gets("kube-apiserver")[-1] == "bytes=800000-" and artifact.path.read_bytes() == BIG
    assert not cache.has_partial()


def test_a_resumed_file_with_a_wrong_sum_is_fetched_again(mirror: SourceConfig, cache: Cache, said: list[str]) -> None:
    (cache.partial / hashlib.sha256(BIG).hexdigest()).write_bytes(b"of another file")
    (artifact,) = obtain([WANTED], mirror, cache, said.append)
    assert artifact.path.read_bytes() == BIG and any("downloading it again" in line for line in said)


def test_a_closed_port_is_an_error_at_once(cache: Cache, said: list[str]) -> None:
    nobody = SourceConfig(kind="mirror", mirror="http://127.0.0.1:1")
    with pytest.raises(Failed, match="check the network and proxy"):
        obtain([WANTED], nobody, cache, said.append)


def test_a_sum_that_differs_from_the_pinned_one_is_refused(
    upstream: Upstream, mirror: SourceConfig, cache: Cache, said: list[str], tmp_path: Path
) -> None:
    lock = tmp_path / "artifacts.lock"
    obtain([WANTED], mirror, cache, said.append, lock)
    before = lock.read_text()
    upstream.publish(APISERVER, b"another release of the same version", text="{sha}")
    with pytest.raises(Failed, match=r"pins .*what was released has changed"):
        obtain([WANTED], mirror, Cache(tmp_path / "empty"), said.append, lock)
    assert lock.read_text() == before and left_over(Cache(tmp_path / "empty")) == []


def test_a_cached_file_that_is_not_the_pinned_one_is_not_used(
    mirror: SourceConfig, cache: Cache, said: list[str], tmp_path: Path
) -> None:
    obtain([WANTED], mirror, cache, said.append)
    lock = tmp_path / "artifacts.lock"
    lock.write_text(json.dumps({published(WANTED).address: "0" * 64}))
    with pytest.raises(Failed, match="pins 0000"):
        obtain([WANTED], mirror, cache, said.append, lock)


def test_a_broken_lock_file_is_bad_input(mirror: SourceConfig, cache: Cache, said: list[str], tmp_path: Path) -> None:
    (tmp_path / "artifacts.lock").write_text("<<<<<<< HEAD")
    with pytest.raises(BadInput, match="restore it from version control"):
        obtain([WANTED], mirror, cache, said.append, tmp_path / "artifacts.lock")


def test_two_processes_at_once_fetch_once(upstream: Upstream, mirror: SourceConfig, cache: Cache) -> None:
    code = (
        "import sys; from pathlib import Path; from kubewright.artifacts import *\n"
        "w = Wanted(component='kubernetes', name='kube-apiserver', version='1.37.1', arch='amd64')\n"
        "s = SourceConfig(kind='mirror', mirror=sys.argv[1])\n"
        "print(obtain([w], s, Cache(Path(sys.argv[2])), lambda _: None, Path(sys.argv[3]))[0].sha256)\n"
    )
    command = [sys.executable, "-c", code, upstream.base, str(cache.root), str(cache.root.parent / "lock")]
    children = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = [child.communicate(timeout=30)[0].strip() for child in children]
    assert said == [hashlib.sha256(BIG).hexdigest()] * 2 and len(upstream.gets("kube-apiserver")) == 1


def test_flannel_is_checked_against_the_digest_in_the_releases_description(
    upstream: Upstream, cache: Cache, said: list[str]
) -> None:
    wanted = Wanted(component="flannel", name="flanneld", version="0.28.9", arch="amd64")
    sha = hashlib.sha256(b"flanneld").hexdigest()
    upstream.files["/github.com/flannel-io/flannel/releases/download/v0.28.9/flanneld-amd64"] = b"flanneld"
    description = "/api.github.com/repos/flannel-io/flannel/releases/tags/v0.28.9"
    upstream.files[description] = json.dumps({"assets": [{"name": "flanneld-amd64", "digest": None}]}).encode()
    source = SourceConfig(kind="mirror", mirror=upstream.base)
    with pytest.raises(Failed, match="nothing is installed without a sum"):
        obtain([wanted], source, cache, said.append)
    assets = [{"name": "other"}, {"name": "flanneld-amd64", "digest": f"sha256:{sha}"}]
    upstream.files[description] = json.dumps({"assets": assets[1:]}).encode()
    assert obtain([wanted], source, cache, said.append)[0].sha256 == sha


def test_an_archive_without_the_binary_says_so(
    upstream: Upstream, cache: Cache, said: list[str], make_tar_gz: Callable[[dict[str, bytes]], bytes]
) -> None:
    path = "/github.com/coredns/coredns/releases/download/v1.15.0/coredns_1.15.0_linux_amd64.tgz"
    upstream.publish(path, make_tar_gz({"../coredns": b"x"}))
    wanted = Wanted(component="coredns", name="coredns", version="1.15.0", arch="amd64")
    with pytest.raises(Failed, match="holds no coredns"):
        obtain([wanted], SourceConfig(kind="mirror", mirror=upstream.base), cache, said.append)


@pytest.mark.parametrize("arch", ["amd64", "arm64"])
def test_every_binary_has_an_address_and_a_sum_beside_it(arch: str) -> None:
    for wanted in catalogue(DEFAULT, arch, skydns=False):
        file = published(wanted)
        assert file.address.startswith(("https://dl.k8s.io/v", "https://github.com/")) and arch in file.address
        assert wanted.version in file.address and file.sums.startswith("https://")


def test_the_test_image_has_no_upstream_binary() -> None:
    with pytest.raises(Failed, match="publishes no such binary"):
        published(agnhost(DEFAULT, "amd64"))


def test_a_mirror_has_upstreams_hosts_as_folders() -> None:
    assert through_mirror("https://dl.k8s.io/v1/x", "http://m/base/") == "http://m/base/dl.k8s.io/v1/x"
    assert through_mirror("https://dl.k8s.io/v1/x", None) == "https://dl.k8s.io/v1/x"


SHA = "ab" * 32


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (SHA, SHA),
        (SHA.upper() + "\n", SHA),
        (f"{SHA}  runc.amd64\n", SHA),
        (f"{'0' * 64} *runc.arm64\n{SHA} *runc.amd64\n", SHA),
        (f"{SHA}  release/runc.amd64", SHA),
        (f"{SHA}  runc.arm64\n", None),
        (f"{SHA[:40]}  runc.amd64", None),
        ("", None),
        ("{ not json", None),
        ('{"assets": [{"name": "runc.amd64", "digest": "sha512:00"}]}', None),
    ],
)
def test_lists_of_sums(text: str, found: str | None) -> None:
    assert sum_for("runc.amd64", text) == found


@pytest.mark.parametrize("kind", ["mirror", "directory"])
def test_a_source_without_its_place_is_bad_input(kind: Any, cache: Cache, said: list[str]) -> None:
    with pytest.raises(BadInput, match="is missing"):
        obtain([WANTED], SourceConfig(kind=kind), cache, said.append)
