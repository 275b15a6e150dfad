"""Labs' changes of the machine are recorded once and restored, also on version 2 and after a reboot."""

from __future__ import annotations

from pathlib import Path

import pytest

from kubewright.lab import base, cgroup, machine, network, sysctls


@pytest.fixture
def top(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with version 2 that delegates two controllers."""
    home, top = tmp_path / "home", tmp_path / "cgroup"
    for folder in (home, top, tmp_path / "sys"):
        folder.mkdir()
    (top / "cgroup.controllers").write_text("cpu cpuset io memory pids rdma")
    (top / "cgroup.subtree_control").write_text("memory pids")
    (tmp_path / "boot").write_text("first")
    for name in sysctls.WANTED:
        (tmp_path / "sys" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "sys" / name).write_text("7")
    monkeypatch.setattr(cgroup, "MOUNT", top)
    monkeypatch.setattr(machine, "_BOOT", home / "boot-id")
    monkeypatch.setattr(machine, "_BOOT_ID", tmp_path / "boot")
    monkeypatch.setattr(machine, "_CONTROLLERS", home / "controllers")
    monkeypatch.setattr(sysctls, "RECORD", home / "sysctls.json")
    monkeypatch.setattr(sysctls, "_SYS", tmp_path / "sys")
    monkeypatch.setattr(network, "RECORD", home / "netns-mounted")
    monkeypatch.setattr(network, "NAMESPACES", tmp_path / "netns")
    return top


def written(top: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Later writes to subtree_control; the file itself is the kernel's answer and stays."""
    writes: list[str] = []
    real = Path.write_text

    def write_text(path: Path, text: str) -> int:
        if path == top / "cgroup.subtree_control":
            writes.append(text)
            return len(text)
        return real(path, text)

    monkeypatch.setattr(Path, "write_text", write_text)
    return writes


def test_only_controllers_that_a_lab_turned_on_are_turned_off_again(top: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writes = written(top, monkeypatch)
    machine.take()
    machine.put_back()
    assert writes == ["+cpu", "+cpuset", "+io", "-cpu", "-cpuset", "-io"]
    assert list((top.parent / "home").iterdir()) == []


def test_a_second_lab_does_not_record_the_first_ones_controllers_as_the_machines(
    top: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.take()
    (top / "cgroup.subtree_control").write_text("cpu cpuset io memory pids")
    machine.take()
    writes = written(top, monkeypatch)
    machine.put_back()
    assert writes == ["-cpu", "-cpuset", "-io"]


def test_records_of_an_earlier_boot_are_not_restored(top: Path) -> None:
    machine.take()
    (top.parent / "boot").write_text("second")
    for name in sysctls.WANTED:
        (top.parent / "sys" / name).write_text("8")
    machine.take()
    machine.put_back()
    assert {(top.parent / "sys" / name).read_text() for name in sysctls.WANTED} == {"8"}


def test_a_folder_of_namespaces_that_a_lab_made_is_removed_with_the_last_lab(top: Path) -> None:
    machine.take()
    network.NAMESPACES.mkdir()
    machine.put_back()
    assert not network.NAMESPACES.exists()
    network.NAMESPACES.mkdir()
    machine.take()
    machine.put_back()
    assert network.NAMESPACES.exists()


def test_leftovers_of_killed_builds_are_removed_and_images_stay(tmp_path: Path) -> None:
    for name in ("base-bookworm-1.new", "base-bookworm-2.new", "base-bookworm-2"):
        (tmp_path / name / "proc").mkdir(parents=True)
    base._clean(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["base-bookworm-2"]
