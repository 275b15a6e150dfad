"""Which hosts get which archives of images."""

from __future__ import annotations

from pathlib import Path

import pytest

from kubewright.artifacts.cache import Cache
from kubewright.errors import Failed, HostsUnfit
from kubewright.run.archives import taken
from tests.unit.artifacts.test_archives import docker


def test_hosts_get_the_archives_of_their_architecture(tmp_path: Path) -> None:
    paths = [docker(tmp_path / f"{arch}.tar", arch=arch) for arch in ("amd64", "arm64")]
    found = taken(paths, {"amd64", "arm64"}, Cache(tmp_path / "cache"), print, keep=True)
    assert {arch: [a.name for a in archives] for arch, archives in found.items()} == {"amd64": ["amd64"], "arm64": ["arm64"]}


def test_archives_for_no_host_are_all_named(tmp_path: Path) -> None:
    paths = [docker(tmp_path / f"{name}.tar", arch="arm64") for name in ("a", "b")]
    with pytest.raises(HostsUnfit) as refused:
        taken(paths, {"amd64"}, Cache(tmp_path / "cache"), print, keep=True)
    assert [str(p) for p in refused.value.problems] == [
        f"images.archives[{n}]: no image for the hosts' architecture ({path}: arm64); allowed: images for amd64; "
        "name an archive for that architecture"
        for n, path in enumerate(paths)
    ]
    assert not (tmp_path / "cache").exists()


def test_an_archive_that_has_gone_since_the_check_stops_the_run(tmp_path: Path) -> None:
    with pytest.raises(Failed, match="no such file"):
        taken([tmp_path / "gone.tar"], {"amd64"}, Cache(tmp_path / "cache"), print, keep=True)
