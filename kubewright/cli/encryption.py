"""`kubewright encryption`: the key that Secrets are encrypted with in etcd. No logic: the engine does the work."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from kubewright.cli.inventory import Inventory, folder_of
from kubewright.cli.progress import Progress
from kubewright.errors import ATTENTION

app = typer.Typer(help="The key that Secrets are encrypted with in etcd: see it, replace it.", no_args_is_help=True)


@app.command()
def status(inventory: Inventory, as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Count the Secrets in etcd by their encryption key. Exits 2 unless all have the current one."""
    from kubewright.spec import load

    load(inventory)
    from deploy.waves import ROLES
    from kubewright.verbs.rotate.encryption import standing

    found = standing(folder_of(inventory), ROLES)
    counts = {name: len(secrets) for name, secrets in found.secrets.items()}
    if as_json:
        there = {"stage": found.providers.stage, "providers": found.providers.names, "secrets": counts}
        typer.echo(json.dumps({**there, "settled": found.settled}, indent=1))
    else:
        typer.echo(f"stage {found.providers.stage}; read with, in this order: {', '.join(found.providers.names)}")
        for name, count in counts.items():
            typer.echo(f"{count} Secrets: {name}{' (written with)' if name == found.providers.writes else ''}")
        if not found.settled:
            typer.echo(f"not every Secret is encrypted with the current key; resume: kubewright encryption rotate -i {inventory}")
    if not found.settled:
        raise typer.Exit(ATTENTION)


@app.command()
def rotate(inventory: Inventory) -> None:
    """Make a new key, encrypt every Secret with it, drop the old one. After an interruption, run the same command again."""
    from kubewright.spec import load

    load(inventory)
    from deploy.waves import CLUSTER
    from kubewright.verbs.rotate.encryption import rotate_key

    folder = folder_of(inventory)
    with Progress(folder, "encryption-rotate") as progress:
        summary = rotate_key(folder, CLUSTER, progress.show)
    if summary.failure is not None:
        progress.ended(summary, f"kubewright encryption rotate -i {inventory}")
