"""`--inventory`, which nearly every verb has."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kubewright.errors import Problem

Inventory = Annotated[Path, typer.Option("--inventory", "-i", help="The inventory's folder, or its cluster.yaml.")]


def folder_of(inventory: Path) -> Path:
    """The inventory's folder, from the folder or the file."""
    return inventory.parent if inventory.is_file() else inventory


def warned(warning: Problem) -> None:
    """Print warnings. The exit code does not change."""
    typer.echo(f"warning: {warning}", err=True)
