"""Cgroups on version 1 and 2, on a folder that looks like either."""

from __future__ import annotations

from pathlib import Path

import pytest

from kubewright.lab import cgroup


@pytest.fixture
def mount(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(cgroup, "MOUNT", tmp_path)
    return tmp_path


def hierarchy(path: Path) -> None:
    path.mkdir()
    (path / "cgroup.procs").touch()


def test_a_hybrid_machine_has_version_2_among_its_hierarchies(mount: Path) -> None:
    for name in ("cpu,cpuacct", "memory", "systemd", "unified"):
        hierarchy(mount / name)
    (mount / "cpu").symlink_to("cpu,cpuacct")
    assert [p.name for p in cgroup.hierarchies()] == ["cpu,cpuacct", "memory", "systemd", "unified"]
    assert {"cpu", "cpuacct", "memory"} <= cgroup.controllers()
    assert [p.parent.name for p in cgroup.make("kw.a.m1")] == ["cpu,cpuacct", "memory", "systemd", "unified"]


def test_on_version_2_a_hosts_root_is_apart_from_the_process_that_waits_for_it(mount: Path) -> None:
    for path in (mount, mount / "kw.a.m1"):
        path.mkdir(exist_ok=True)
        (path / "cgroup.controllers").write_text("cpu memory pids rdma")
        (path / "cgroup.subtree_control").write_text("cpu memory pids")
    assert cgroup.make("kw.a.m1") == [mount / "kw.a.m1" / "host"]
    assert (mount / "kw.a.m1" / "outside").is_dir()


def test_cgroups_are_removed_deepest_first(mount: Path) -> None:
    hierarchy(mount / "memory")
    (mount / "memory" / "kw.a.m1" / "kubepods" / "pod1").mkdir(parents=True)
    cgroup.remove("kw.a.m1")
    assert not (mount / "memory" / "kw.a.m1").exists()


def test_no_two_labs_share_a_prefix(mount: Path) -> None:
    hierarchy(mount / "memory")
    for tag in ("kw.a.m1", "kw.ab.m1", "other"):
        (mount / "memory" / tag).mkdir()
    assert cgroup.tags("kw.a.") == {"kw.a.m1"}
