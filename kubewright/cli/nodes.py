"""`kubewright node`: hosts join, leave, rest and return. No logic: kubewright.verbs does the work, imported when it is needed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kubewright.cli.inventory import Inventory, folder_of
from kubewright.cli.progress import Progress
from kubewright.errors import ATTENTION, FAILED, HOSTS_LEFT_OUT

if TYPE_CHECKING:
    from kubewright.verbs.members import Outcome, Wanted

app = typer.Typer(help="Hosts join and leave a live cluster, masters and etcd members too.", no_args_is_help=True)

Without = Annotated[list[str], typer.Option("--without", help="Leave this host out; may be repeated. Exits 4.")]
BreakLock = Annotated[bool, typer.Option("--break-lock", help="End the run that holds the lock, after showing it.")]
Plan = Annotated[bool, typer.Option("--plan", help="Show the steps, change nothing. Exits 2.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]
Dead = Annotated[bool, typer.Option("--dead", help="If it does not answer, it is gone for good: neither drained nor emptied.")]
Snapshot = Annotated[
    bool, typer.Option("--snapshot/--no-snapshot", help="Before members leave etcd, save a snapshot beside the inventory.")
]
Seconds = Annotated[int, typer.Option("--timeout", min=40, help="Seconds in which a node's pods must leave.")]
Json = Annotated[bool, typer.Option("--json", help="With --plan: print JSON.")]


@app.command()
def add(
    inventory: Inventory,
    names: Annotated[
        list[str] | None, typer.Argument(help="Hosts of cluster.yaml, as a check of their names: every new one joins.")
    ] = None,
    plan: Plan = False,
    as_json: Json = False,
    without: Without = [],  # noqa: B006 - typer copies it
    break_lock: BreakLock = False,
) -> None:
    """Bring hosts that you added to cluster.yaml into the cluster: workers, masters, etcd members."""
    from kubewright.verbs.members import Wanted

    wanted = Wanted(verb="node add", joining=tuple(names or ()))
    _change(inventory, wanted, plan=plan, as_json=as_json, yes=True, without=without, break_lock=break_lock)


@app.command()
def remove(
    inventory: Inventory,
    names: Annotated[list[str], typer.Argument(help="Hosts to take out; they may still be in cluster.yaml.")],
    dead: Dead = False,
    plan: Plan = False,
    as_json: Json = False,
    yes: Yes = False,
    timeout: Seconds = 320,
    snapshot: Snapshot = True,
    without: Without = [],  # noqa: B006 - typer copies it
    break_lock: BreakLock = False,
) -> None:
    """Take hosts out: drain them, remove their members, nodes and certificates, empty them, edit cluster.yaml."""
    from kubewright.verbs.members import Wanted

    wanted = Wanted(verb="node remove", leaving=tuple(names), dead=dead, seconds=timeout)
    _change(inventory, wanted, plan=plan, as_json=as_json, yes=yes, without=without, break_lock=break_lock, snapshot=snapshot)


@app.command()
def replace(
    inventory: Inventory,
    old: Annotated[str, typer.Argument(help="The host that leaves; or one that was rebuilt, under its old name.")],
    new: Annotated[str | None, typer.Argument(help="The host that takes its place; it is in cluster.yaml.")] = None,
    dead: Dead = False,
    plan: Plan = False,
    as_json: Json = False,
    yes: Yes = False,
    timeout: Seconds = 320,
    snapshot: Snapshot = True,
    without: Without = [],  # noqa: B006 - typer copies it
    break_lock: BreakLock = False,
) -> None:
    """Replace a host by a new one: the new one joins first, unless the old one is dead. Without NEW: OLD was rebuilt."""
    from kubewright.verbs.members import Wanted

    if new is None or new == old:
        wanted = Wanted(verb="node replace", replaced=(old,), seconds=timeout)
    else:
        wanted = Wanted(verb="node replace", leaving=(old,), joining=(new,), dead=dead, seconds=timeout)
    _change(inventory, wanted, plan=plan, as_json=as_json, yes=yes, without=without, break_lock=break_lock, snapshot=snapshot)


@app.command()
def isolate(inventory: Inventory, name: Annotated[str, typer.Argument(help="A node.")], timeout: Seconds = 320) -> None:
    """Cordon and drain a node. It stays in the cluster, without pods, until `node recover`."""
    from kubewright.spec import load

    load(inventory)
    from deploy.waves import CLUSTER
    from kubewright.verbs.isolation import isolate as run

    folder = folder_of(inventory)
    with Progress(folder, "node-isolate") as progress:
        run(folder, CLUSTER, progress.show, name, seconds=timeout)
    typer.echo(f"{name} takes no pods; to use it again: kubewright node recover {name} -i {inventory}")


@app.command()
def recover(inventory: Inventory, name: Annotated[str, typer.Argument(help="A node.")]) -> None:
    """Let a node take pods again, if it is Ready, without pressure, and of the cluster's release."""
    from kubewright.spec import load

    load(inventory)
    from deploy.waves import CLUSTER
    from kubewright.verbs.isolation import recover as run

    folder = folder_of(inventory)
    with Progress(folder, "node-recover") as progress:
        run(folder, CLUSTER, progress.show, name)
    typer.echo(f"{name} takes pods again")


def _change(
    inventory: Path,
    wanted: Wanted,
    *,
    plan: bool,
    as_json: bool,
    yes: bool,
    without: list[str],
    break_lock: bool,
    snapshot: bool = True,
) -> None:
    from kubewright.spec import load

    load(inventory, leaving=wanted.leaving)
    from deploy.waves import CLUSTER
    from kubewright.verbs.members import change

    folder = folder_of(inventory)
    with Progress(folder, wanted.verb.replace(" ", "-")) as progress:

        def accept(outcome: Outcome) -> bool:
            with progress.paused():
                _show(outcome, inventory, as_json=plan and as_json)
                return not plan and (yes or typer.confirm("carry this out?", abort=True))

        outcome = change(
            folder, CLUSTER, progress.show, wanted, without_hosts=without, break_lock=break_lock, snapshot=snapshot, accept=accept
        )  # fmt: skip
    if plan:
        raise typer.Exit(ATTENTION)
    command = f"{wanted.command}{' --dead' if wanted.dead else ''} -i {inventory}"
    progress.ended(outcome.summaries[-1], command)
    _tell(outcome, inventory, outcome.valid, had="had", err=True)  # again: a run is long, and this is still to be done
    if not outcome.edited:
        typer.echo(f"remove {', '.join(wanted.leaving)} from cluster.yaml by hand: its lines could not be told apart", err=True)
        raise typer.Exit(FAILED)
    if without:
        raise typer.Exit(HOSTS_LEFT_OUT)


def _show(outcome: Outcome, inventory: Path, *, as_json: bool) -> None:
    steps = [step.title for step in outcome.steps]
    if as_json:
        typer.echo(json.dumps({"steps": steps, "held": {name: list(lines) for name, lines in outcome.held.items()}}, indent=1))
        return
    for number, title in enumerate(steps, 1):
        typer.echo(f"{number}. {title}")
    _tell(outcome, inventory, frozenset(outcome.held))


def _tell(outcome: Outcome, inventory: Path, names: frozenset[str], *, had: str = "has", err: bool = False) -> None:
    for name in (name for name in outcome.held if name in names):
        typer.echo(f"what {name} {had}:", err=err)
        for line in outcome.held[name]:
            typer.echo(f"   {line.replace('INVENTORY', str(inventory))}", err=err)
