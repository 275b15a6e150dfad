"""Every verb takes its inventory in the same way: its folder, or the cluster.yaml in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer

from kubewright.cli.app import app
from kubewright.cli.inventory import folder_of


def _verbs(command: Any) -> list[Any]:
    inside = getattr(command, "commands", {}).values()
    return [verb for each in inside for verb in _verbs(each)] or [command]


def test_the_folder_and_the_file_in_it_are_the_same_inventory(tmp_path: Path) -> None:
    (tmp_path / "cluster.yaml").write_text("name: prod\n")
    assert folder_of(tmp_path) == folder_of(tmp_path / "cluster.yaml") == tmp_path


def test_every_verb_has_the_same_option() -> None:
    options = [p for verb in _verbs(typer.main.get_command(app)) for p in verb.params if p.name == "inventory"]
    assert len(options) > 20
    assert {(tuple(p.opts), p.help, p.required) for p in options} == {
        (("--inventory", "-i"), "The inventory's folder, or its cluster.yaml.", True)
    }
