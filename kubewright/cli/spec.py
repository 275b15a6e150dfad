"""`kubewright validate`, `init`, `schema`: cluster.yaml, without any host. Imports wait for the verb."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from kubewright.cli.inventory import Inventory, warned
from kubewright.errors import Problem


def validate(inventory: Inventory) -> None:
    """Check a cluster.yaml: every problem at once, with its line, what is allowed and what to do."""
    from kubewright.spec.load import load, spec_file

    warnings: list[Problem] = []
    found = load(inventory, warn=warnings.append)
    for warning in warnings:
        warned(warning)
    counts = ", ".join(
        (
            _count(len(found.masters), "master"),
            _count(len(found.etcd_hosts), "etcd member"),
            _count(len(found.workers), "worker"),
        )
    )
    hosts = _count(len(found.hosts), "host")
    noted = f", {_count(len(warnings), 'warning')}" if warnings else ""
    typer.echo(f"{spec_file(inventory)}: {hosts} ({counts}), Kubernetes {found.kubernetes}: no problem found{noted}")


def init(folder: Annotated[Path, typer.Argument(help="The inventory's folder; made if it is not there.")]) -> None:
    """Write a first cluster.yaml with comments. Never overwrites one."""
    from kubewright.spec.template import init as write

    path = write(folder)
    typer.echo(f"{path}: written; fill in the hosts, then: kubewright validate -i {folder}")


def schema() -> None:
    """Print the JSON Schema of cluster.yaml, for editors."""
    from kubewright.spec.schema import schema as make

    typer.echo(json.dumps(make(), indent=2))


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
