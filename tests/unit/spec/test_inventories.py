"""The inventories that come with kubewright are valid, and show what their comments promise."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from kubewright.cli import spec as cli
from kubewright.errors import BadInput
from kubewright.spec import checks, load
from kubewright.spec.checks import files

INVENTORIES = Path(__file__).parents[3] / "inventories"
LINES = {
    "lab": "5 hosts (3 masters, 3 etcd members, 2 workers)",
    "vagrant": "5 hosts (3 masters, 3 etcd members, 2 workers)",
    "single": "1 host (1 master, 1 etcd member, 1 worker)",
    "ha": "9 hosts (3 masters, 3 etcd members, 3 workers)",
}


@pytest.fixture
def without_key_files(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Keys of the lab and of Vagrant's machines are made with the machines."""
    monkeypatch.setattr(checks, "CHECKS", tuple(row for row in checks.CHECKS if row[0] is not files.ssh_files))
    yield


@pytest.fixture
def app() -> typer.Typer:
    made = typer.Typer()
    for command in (cli.validate, cli.init, cli.schema):
        made.command()(command)
    return made


def test_every_inventory_is_in_this_list() -> None:
    assert {path.parent.name for path in INVENTORIES.glob("*/cluster.yaml")} >= LINES.keys()


@pytest.mark.parametrize("name", LINES)
def test_every_inventory_is_valid(name: str, app: typer.Typer, without_key_files: None) -> None:
    result = CliRunner().invoke(app, ["validate", "-i", str(INVENTORIES / name)])
    assert result.exit_code == 0, result.exception
    assert result.output.replace("\n", "") == (
        f"{INVENTORIES}/{name}/cluster.yaml: {LINES[name]}, Kubernetes 1.37.1: no problem found"
    )


def test_the_file_itself_is_an_inventory_too(without_key_files: None) -> None:
    assert load(INVENTORIES / "lab" / "cluster.yaml").lab == "demo"


def test_the_labs_missing_key_names_the_command_that_makes_it(tmp_path: Path) -> None:
    text = (INVENTORIES / "lab" / "cluster.yaml").read_text().replace("/var/lib/kubewright", str(tmp_path))
    (tmp_path / "cluster.yaml").write_text(text)
    with pytest.raises(BadInput) as caught:
        load(tmp_path)
    assert {problem.todo for problem in caught.value.problems} == {"start the lab, which makes it: kubewright lab up"}


def test_problems_leave_validate_as_bad_input(tmp_path: Path, app: typer.Typer) -> None:
    (tmp_path / "cluster.yaml").write_text("name: x\n")
    result = CliRunner().invoke(app, ["validate", "-i", str(tmp_path)])
    assert isinstance(result.exception, BadInput)
    assert result.exception.exit_code == 3


def test_init_then_validate(tmp_path: Path, app: typer.Typer) -> None:
    folder = str(tmp_path / "prod")
    assert "written" in CliRunner().invoke(app, ["init", folder]).output
    assert "no problem found" in CliRunner().invoke(app, ["validate", "-i", folder]).output.replace("\n", "")


def test_schema_is_printed_as_json(app: typer.Typer) -> None:
    assert CliRunner().invoke(app, ["schema"]).output.startswith('{\n  "$schema"')
