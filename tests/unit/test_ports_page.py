"""docs/ports.md agrees with the roles' ports."""

from __future__ import annotations

from pathlib import Path

from deploy.ports_page import page

PAGE = Path(__file__).parents[2] / "docs" / "ports.md"


def test_the_page_agrees_with_the_roles() -> None:
    assert PAGE.read_text() == page(), "python -m deploy.ports_page > docs/ports.md"


def test_the_components_ports_are_on_the_page() -> None:
    ports = [line.split(" | ")[0].removeprefix("| ") for line in PAGE.read_text().splitlines() if " | TCP | " in line]
    assert {"2379", "2380", "6443", "10250", "10257", "10259", "10256"} <= set(ports)
