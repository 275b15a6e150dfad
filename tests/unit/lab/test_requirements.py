"""One message names everything that a machine lacks, before anything is made."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from kubewright import lab
from kubewright.errors import FAILED, HostsUnfit
from kubewright.lab import cgroup, requirements, sources


def test_without_root_nothing_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    made = lab.new_lab("demo", ("m1",))
    refusals: list[Callable[[], None]] = [lambda: lab.up(made, print), lambda: lab.down("demo"), lambda: lab.stop(made, "m1")]
    for refuses in refusals:
        with pytest.raises(HostsUnfit, match="a lab is made by root; run this with sudo") as caught:
            refuses()
        assert caught.value.exit_code == FAILED


def test_everything_that_is_missing_is_named_with_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(shutil, "which", lambda program: None if program in {"mmdebstrap", "nsenter", "unshare"} else program)
    monkeypatch.setattr(cgroup, "controllers", lambda: {"cpu", "memory"})
    with pytest.raises(HostsUnfit) as caught:
        requirements.require()
    message = str(caught.value)
    assert "missing programs (nsenter, unshare, mmdebstrap); apt-get install mmdebstrap util-linux" in message
    assert "missing cgroup controllers (cpuset, pids)" in message


def test_cgroup_version_1_allows_only_debian_12(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(cgroup, "is_v2", lambda: False)
    monkeypatch.setattr(requirements, "codename", lambda _text: "noble")
    with pytest.raises(HostsUnfit, match="cgroup version 1, on which hosts made from this machine's noble do not boot"):
        requirements.require()


def test_a_release_without_a_source_is_reported(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(sources, "APT", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(HostsUnfit) as caught:
        requirements.require()
    message = str(caught.value)
    assert "/etc/apt: no source of this machine's own release" in message
    assert "missing programs (ip, nsenter, unshare, mmdebstrap, ssh, ssh-keygen, setpriv, openssl)" in message


def test_ubuntu_needs_universe(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    release = tmp_path / "os-release"
    release.write_text("ID=ubuntu\nVERSION_CODENAME=noble\n")
    (tmp_path / "sources.list.d").mkdir()
    source = tmp_path / "sources.list.d" / "ubuntu.sources"
    stanza = "Types: deb\nURIs: http://mirror.example.org/ubuntu\nSuites: noble\nComponents: main"
    source.write_text(stanza)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(cgroup, "is_v2", lambda: True)
    monkeypatch.setattr(cgroup, "controllers", lambda: {"cpu", "cpuset", "memory", "pids"})
    monkeypatch.setattr(requirements, "OS_RELEASE", release)
    monkeypatch.setattr(sources, "APT", tmp_path)
    with pytest.raises(HostsUnfit, match="no source has the component universe of noble"):
        requirements.require()
    source.write_text(f"{stanza} universe")
    requirements.require()
