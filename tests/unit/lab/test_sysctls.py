"""The machine's settings: recorded once, raised, restored."""

from __future__ import annotations

from pathlib import Path

import pytest

from kubewright.lab import sysctls

BEFORE = dict.fromkeys(sysctls.WANTED, "7") | {"fs/inotify/max_user_watches": "9999999"}


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, value in BEFORE.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(f"{value}\n")
    monkeypatch.setattr(sysctls, "_SYS", tmp_path)
    monkeypatch.setattr(sysctls, "RECORD", tmp_path / "record.json")
    return tmp_path


def values(machine: Path) -> dict[str, str]:
    return {name: (machine / name).read_text().strip() for name in sysctls.WANTED}


def test_kubelets_settings_are_set_and_limits_are_never_lowered(machine: Path) -> None:
    sysctls.raise_all()
    assert values(machine) == sysctls.WANTED | {"fs/inotify/max_user_watches": "9999999"}


def test_a_second_lab_does_not_record_the_first_ones_settings(machine: Path) -> None:
    sysctls.raise_all()
    sysctls.raise_all()
    sysctls.put_back()
    assert values(machine) == BEFORE
    assert not (machine / "record.json").exists()


def test_without_a_record_nothing_is_restored(machine: Path) -> None:
    sysctls.put_back()
    assert values(machine) == BEFORE
