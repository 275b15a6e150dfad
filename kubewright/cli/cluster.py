"""`kubewright apply`, `verify` and `kubectl`. No logic: the engine does the work, and is imported only when it is needed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from kubewright.cli.progress import Progress
from kubewright.errors import FAILED, KubewrightError

Inventory = Annotated[Path, typer.Option("--inventory", "-i", help="The inventory's folder, or its cluster.yaml.")]


def _folder(inventory: Path) -> Path:
    return inventory.parent if inventory.is_file() else inventory


def apply(inventory: Inventory) -> None:
    """Bring the hosts to what cluster.yaml says; change only what differs."""
    from kubewright.spec import load

    load(inventory)  # bad input is told before anything heavy is imported
    from deploy.steps import ROLES
    from kubewright.engine.apply import apply as run

    folder = _folder(inventory)
    with Progress(folder) as progress:
        summary = run(folder, ROLES, progress.show)
    progress.summary(summary)
    if summary.failure is not None:
        if isinstance(summary.failure, KubewrightError):
            raise typer.Exit(summary.failure.exit_code)
        raise summary.failure


def verify(
    inventory: Inventory,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    junit: Annotated[Path | None, typer.Option(help="Also write the results there, as JUnit XML.")] = None,
) -> None:
    """Run every role's checks on every host; changes nothing."""
    from kubewright.spec import load

    load(inventory)
    from deploy.steps import ROLES
    from kubewright.engine import verify as engine

    results = engine.verify(_folder(inventory), ROLES)
    failed = [r for r in results if not r.holds]
    if junit:
        junit.write_bytes(engine.junit(results))
    if as_json:
        typer.echo(json.dumps([{**vars(r), "holds": r.holds} for r in results], indent=1))
    else:
        table = Table("host", "role", "check", "", box=None)
        for r in results:
            table.add_row(r.host, r.role, r.check, "[green]ok" if r.holds else f"[red]FAILED[/red] {r.message}")
        Console().print(table)
        typer.echo(f"{len(results) - len(failed)} of {len(results)} checks hold")
    if failed:
        raise typer.Exit(FAILED)


def kubectl(context: typer.Context, inventory: Inventory) -> None:
    """Run kubectl on a master that answers: kubewright kubectl -i INVENTORY -- get nodes."""
    from kubewright.engine.kubectl import kubectl as run

    raise typer.Exit(run(_folder(inventory), context.args))
