"""`kubewright certs renew`, `rotate-ca` and `rotate-service-account`. No logic."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from kubewright.cli.certs import app as app
from kubewright.cli.inventory import Inventory, folder_of
from kubewright.cli.progress import Progress
from kubewright.errors import BadInput, Problem

Drop = Annotated[bool, typer.Option("--drop", help="Drop the old one without asking about pods and people that may need it.")]
Undo = Annotated[bool, typer.Option("--undo", help="Go back to the old one: possible until it is dropped.")]
Show = Annotated[bool, typer.Option("--status", help="Show the stage only.")]


@app.command()
def renew(
    inventory: Inventory,
    names: Annotated[
        list[str] | None, typer.Argument(help="Certificates, as `certs status` names them; `apiserver` is all of them.")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Every leaf, whatever its age.")] = False,
    days: Annotated[int | None, typer.Option(help="Those with fewer days left than this.")] = None,
) -> None:
    """Renew leaf certificates: those that expire soon, or those named. Rolling, with gates and only needed restarts."""
    from kubewright.spec import load

    if every and names:
        raise typer.BadParameter("either names or --all")
    load(inventory)
    from deploy.waves import CLUSTER
    from kubewright.verbs.renew import renew as run

    folder = folder_of(inventory)
    with Progress(folder, "renew") as progress:
        summary = run(folder, CLUSTER, progress.show, names=names or (), every=every, days=days)
    progress.ended(summary, f"kubewright apply -i {inventory}")


@app.command("rotate-ca")
def rotate_ca(
    inventory: Inventory,
    authority: Annotated[str, typer.Argument(help="kubernetes, etcd or front-proxy.")],
    restart_workloads: Annotated[
        bool, typer.Option("--restart-workloads", help="Roll the workloads whose pods may know only the old authority.")
    ] = False,
    drop: Drop = False,
    undo: Undo = False,
    status: Show = False,
) -> None:
    """Replace an authority: both are trusted, then the new one signs, then the old one is dropped. Run it again to continue.

    The new one is made here, or is the external CA in `pki` of cluster.yaml.
    """
    _rotate(inventory, _row(authority), restart_workloads=restart_workloads, drop=drop, undo=undo, status=status)


@app.command("rotate-service-account")
def rotate_service_account(inventory: Inventory, drop: Drop = False, undo: Undo = False, status: Show = False) -> None:
    """Replace the key that signs service accounts' tokens: published first, then it signs, then the old one is dropped."""
    _rotate(inventory, "service-account", restart_workloads=False, drop=drop, undo=undo, status=status)


def _rotate(inventory: Path, row: str, *, restart_workloads: bool, drop: bool, undo: bool, status: bool) -> None:
    if status and undo:
        raise typer.BadParameter("either --status or --undo")
    from kubewright.spec import load

    load(inventory, rotating=row)
    from deploy.waves import CLUSTER
    from kubewright.verbs.rotate.authorities import rotate_authority, stage

    folder = folder_of(inventory)
    if status:
        typer.echo(f"{row}: {stage(folder, row)}")
        return
    with Progress(folder, "rotate") as progress:
        summary = rotate_authority(
            folder, CLUSTER, row, progress.show, drop=(lambda _them: True) if drop else partial(_asked, progress),
            restart_workloads=restart_workloads, undo=undo,
        )  # fmt: skip
    if summary.failure is not None:
        progress.ended(summary, f"the same command, which resumes at stage {stage(folder, row)}")
    typer.echo(f"{row}: {stage(folder, row)}")


def _row(name: str) -> str:
    """The row in the store of the authority `name`. BadInput when there is none."""
    from pki.authorities import AUTHORITIES

    rows = {a.name.removeprefix("ca/"): a.name for a in AUTHORITIES}
    if name not in rows:
        allowed = ", ".join(rows)
        raise BadInput([Problem(where="rotate-ca", what=f"no such authority ({name})", allowed=allowed, todo="name one of them")])
    return rows[name]


def _asked(progress: Progress, dependants: Sequence[str]) -> bool:
    if not sys.stdin.isatty():
        return False
    with progress.paused():
        typer.echo("these may still need the old one:")
        for one in dependants:
            typer.echo(f"  {one}")
        return typer.confirm("drop it without them?", default=False)
