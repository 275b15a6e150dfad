"""`kubewright apply`, `verify` and `kubectl`. No logic: the engine does the work, and is imported only when it is needed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from kubewright.cli.inventory import Inventory, folder_of, warned
from kubewright.cli.progress import Progress
from kubewright.errors import ATTENTION, FAILED, HOSTS_LEFT_OUT, Failed

Without = Annotated[list[str], typer.Option("--without", help="Leave this host out; may be repeated. Exits 4.")]


Deep = Annotated[bool, typer.Option("--deep", help="Rehash the binaries on the hosts: a damaged one is found and replaced.")]


def apply(
    inventory: Inventory,
    plan: Annotated[Path | None, typer.Argument(help="A saved plan: carried out exactly, or refused as stale.")] = None,
    without: Without = [],  # noqa: B006 - typer copies it
    break_lock: Annotated[bool, typer.Option("--break-lock", help="End the run that holds the lock, after showing it.")] = False,
    deep: Deep = False,
) -> None:
    """Apply cluster.yaml to the hosts; change only what differs."""
    from kubewright.spec import load

    load(inventory, warn=warned)  # bad input is told before anything heavy is imported
    from deploy.waves import CLUSTER
    from kubewright.verbs.apply import apply as run

    folder = folder_of(inventory)
    with Progress(folder) as progress:
        summary = run(folder, CLUSTER, progress.show, plan=plan, without=without, break_lock=break_lock, deep=deep)
    progress.ended(summary, f"kubewright apply -i {inventory}")
    if summary.without:
        raise typer.Exit(HOSTS_LEFT_OUT)


def plan(
    inventory: Inventory,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Save the plan there, for apply.")] = None,
    without: Without = [],  # noqa: B006 - typer copies it
    deep: Deep = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show what apply would change, host by host, and why. Exits 2 when there are changes.

    Changes nothing, and neither builds nor downloads: it names the artifacts that are not on this machine.
    """
    from kubewright.spec import load

    load(inventory, warn=warned)
    from deploy.waves import CLUSTER
    from kubewright.cli import preview
    from kubewright.verbs.apply import make_preview

    found = make_preview(folder_of(inventory), CLUSTER, lambda event: preview.say(event.text), without, deep=deep)
    preview.show(found, as_json=as_json)
    if output:
        found.save(output)
    if found:
        raise typer.Exit(ATTENTION)


def reset(
    inventory: Inventory,
    confirm: Annotated[str | None, typer.Option(help="The cluster's name, instead of being asked for it.")] = None,
    snapshot: Annotated[bool, typer.Option(help="Take a snapshot of etcd first. Without one its data is gone for good.")] = True,
) -> None:
    """Remove everything that was installed, after a snapshot of etcd; apply works again afterwards."""
    from kubewright.spec import load

    spec = load(inventory)
    typer.echo(f"this removes the cluster {spec.name} from {', '.join(host.name for host in spec.hosts)}")
    if (confirm if confirm is not None else typer.prompt("type the cluster's name to confirm")) != spec.name:
        raise Failed(f"that is not its name ({spec.name}): nothing was removed")
    from deploy.waves import ROLES
    from kubewright.verbs.reset import STAYS
    from kubewright.verbs.reset import reset as run

    folder = folder_of(inventory)
    with Progress(folder, "reset") as progress:
        run(folder, ROLES, progress.show, snapshot=snapshot)
    typer.echo("what stays: " + "; ".join(STAYS))


def history(inventory: Inventory, as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Past runs with changes, the newest first."""
    from kubewright.run.journal import history as past
    from kubewright.spec.load import require

    require(inventory)
    found = list(past(folder_of(inventory)))
    if as_json:
        typer.echo(json.dumps([vars(run) for run in found], indent=1))
        return
    table = Table("run", "by", "verb", "outcome", "seconds", "changes", "hosts", box=None)
    for run in found:
        seconds = "" if run.seconds is None else f"{run.seconds:.0f}"
        outcome = f"{run.outcome}: {run.error.splitlines()[0]}" if run.error else run.outcome
        table.add_row(run.run, run.by, run.verb, outcome, seconds, str(run.changes), ", ".join(run.hosts))
    Console().print(table)


def verify(
    inventory: Inventory,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    junit: Annotated[Path | None, typer.Option(help="Also write the results there, as JUnit XML.")] = None,
    tls: Annotated[bool, typer.Option("--tls", help="Try every TLS connection, allowed and not, instead of the checks.")] = False,
) -> None:
    """Run every role's checks on every host, or try every TLS connection.

    Nothing is changed. For the checks, a Service is made in kube-system, and each etcd member writes a key; both are removed.
    """
    from kubewright.spec import load

    load(inventory)
    from deploy.waves import ROLES

    if tls:
        from kubewright.cli import matrix

        matrix.verify(folder_of(inventory), as_json=as_json)
        return
    from kubewright.verbs import verify as engine

    results = engine.verify(folder_of(inventory), ROLES)
    failed, tried = [r for r in results if r.message], [r for r in results if not r.skipped]
    if junit:
        junit.write_bytes(engine.junit(results))
    if as_json:
        typer.echo(json.dumps([{**vars(r), "holds": r.holds} for r in results], indent=1))
    else:
        table = Table("host", "role", "check", "", box=None)
        for r in results:
            outcome = f"[red]FAILED[/red] {escape(r.message)}" if r.message else f"[yellow]not tried[/yellow] {escape(r.skipped)}"
            table.add_row(r.host, r.role, r.check, "[green]ok" if r.holds else outcome)
        Console().print(table)
        typer.echo(f"{len(tried) - len(failed)} of {len(tried)} checks hold")
    if failed:
        raise typer.Exit(FAILED)


def kubectl(context: typer.Context, inventory: Inventory) -> None:
    """Run kubectl on a master that answers: kubewright kubectl -i INVENTORY -- get nodes."""
    from kubewright.verbs.kubectl import kubectl as run

    raise typer.Exit(run(folder_of(inventory), context.args))
