"""Hosts are made from the machine's own apt sources: one-line and deb822 files, Debian's and Ubuntu's."""

from __future__ import annotations

from pathlib import Path

import pytest

from kubewright.lab import sources

UBUNTU = """# Written by the installer
Types: deb
URIs: http://mirror.example.org/ubuntu/
Suites: noble noble-updates noble-backports
Components: main restricted universe
 multiverse
Signed-By: /usr/share/keyrings/ubuntu-archive-keyring.gpg

Types: deb
URIs: http://security.example.org/ubuntu/
Suites: noble-security
Components: main
Signed-By: /usr/share/keyrings/ubuntu-archive-keyring.gpg
"""
DEBIAN = """
# deb http://old.example.org/debian bullseye main
deb-src http://mirror.example.org/debian bookworm main
deb [arch=amd64 signed-by=/k.gpg] http://mirror.example.org/debian bookworm main contrib # ours
deb http://mirror.example.org/debian-security bookworm-security main
"""


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ('PRETTY_NAME="Ubuntu 24.04"\nVERSION_CODENAME=noble\nUBUNTU_CODENAME=noble\n', "noble"),
        ('VERSION_CODENAME="bookworm"\n', "bookworm"),
        ("ID=fedora\nVERSION_ID=42\n", ""),
    ],
)
def test_the_release_comes_from_os_release(text: str, name: str) -> None:
    assert sources.codename(text) == name


def test_a_deb822_file_offers_its_components() -> None:
    assert sources.components("ubuntu.sources", UBUNTU, "noble") == {"main", "restricted", "universe", "multiverse"}


def test_a_one_line_file_offers_its_components() -> None:
    assert sources.components("sources.list", DEBIAN, "bookworm") == {"main", "contrib"}


def test_other_releases_and_sources_of_source_code_offer_nothing() -> None:
    assert sources.components("sources.list", DEBIAN, "bullseye") == set()
    assert sources.components("ubuntu.sources", UBUNTU, "jammy") == set()
    assert sources.components("a.sources", UBUNTU.replace("Types: deb", "Types: deb-src"), "noble") == set()


def test_a_stanza_that_is_switched_off_offers_nothing() -> None:
    off = UBUNTU.replace("Types: deb\nURIs: http://mirror", "Enabled: no\nTypes: deb\nURIs: http://mirror")
    assert sources.components("ubuntu.sources", off, "noble") == {"main"}


def test_only_files_that_apt_reads_and_that_name_the_release_are_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "APT", tmp_path)
    (tmp_path / "sources.list.d").mkdir()
    (tmp_path / "sources.list").write_text("# Ubuntu sources have moved to sources.list.d/ubuntu.sources\n")
    for name, text in (("ubuntu.sources", UBUNTU), ("ubuntu.sources.save", UBUNTU), ("other.list", DEBIAN)):
        (tmp_path / "sources.list.d" / name).write_text(text)
    assert [path.name for path in sources.machine_sources("noble")] == ["ubuntu.sources"]
