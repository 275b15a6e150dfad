"""`--inventory`, which nearly every verb has."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kubewright.errors import Problem

Inventory = Annotated[Path, typer.Option("--inventory", "-i", help="The inventory's folder, or its cluster.yaml.")]


def folder_of(inventory: Path) -> Path:
    """The inventory's folder, whichever of the two was named."""
    return inventory.parent if inventory.is_file() else inventory


def warned(warning: Problem) -> None:
    """Print what is accepted although it may cause trouble. The exit code stays as it is."""
    typer.echo(f"warning: {warning}", err=True)
