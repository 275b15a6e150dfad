"""`kubewright upgrade` and `rollback`. No logic: kubewright.verbs does the work, imported when it is needed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from kubewright.cli import preview
from kubewright.cli.inventory import Inventory, folder_of
from kubewright.cli.progress import Progress
from kubewright.errors import ATTENTION, DONE, FAILED, BadInput, Problem
from kubewright.plan.move import EVICTION_SECONDS

if TYPE_CHECKING:
    from kubewright.run.events import Event
    from kubewright.verbs.upgrade.moving import Options, Outcome

Plan = Annotated[bool, typer.Option("--plan", help="Show the steps and what stands in the way, change nothing. Exits 2.")]
Json = Annotated[bool, typer.Option("--json", help="With --plan or --status: print JSON.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]
Most = Annotated[int, typer.Option("--max-unavailable", min=1, help="Nodes that are drained at once.")]
Seconds = Annotated[int, typer.Option("--pod-eviction-timeout", min=1, help="Seconds in which the pods of a node must leave it.")]
BreakLock = Annotated[bool, typer.Option("--break-lock", help="End the run that holds the lock, after showing it.")]


def upgrade(
    inventory: Inventory,
    to: Annotated[str | None, typer.Option("--to", help="The release, such as 1.37.1.")] = None,
    plan: Plan = False,
    status: Annotated[
        bool, typer.Option("--status", help="Show what runs where, change nothing. Exits 2 when versions differ.")
    ] = False,
    as_json: Json = False,
    yes: Yes = False,
    max_unavailable: Most = 1,
    pod_eviction_timeout: Seconds = EVICTION_SECONDS,
    break_lock: BreakLock = False,
) -> None:
    """Bring a live cluster to another release, one minor at a time; the same command continues after an interruption."""
    if status:
        _status(inventory, to, as_json=as_json)
        return
    if to is None:
        raise BadInput(
            [Problem(where="--to", what="missing", allowed="a release, such as 1.37.1", todo="name it, or use --status")]
        )
    from kubewright.releases import release_for
    from kubewright.verbs.upgrade.naming import spec_for

    spec_for(inventory, release_for(to))  # bad input is told before anything heavy is imported
    from deploy.waves import CLUSTER
    from kubewright.verbs.upgrade.moving import Options
    from kubewright.verbs.upgrade.moving import upgrade as run

    options = Options(
        max_unavailable=max_unavailable, eviction_seconds=pod_eviction_timeout, break_lock=break_lock, plan=plan
    )  # fmt: skip
    _run(
        inventory,
        options,
        "upgrade",
        lambda *told: run(told[0], CLUSTER, told[1], to, options, told[2]),
        yes=yes,
        as_json=as_json,
    )


def rollback(
    inventory: Inventory,
    to: Annotated[
        str | None, typer.Option("--to", help="The release that it must go to; needed with --yes after an upgrade.")
    ] = None,
    plan: Plan = False,
    as_json: Json = False,
    yes: Yes = False,
    max_unavailable: Most = 1,
    pod_eviction_timeout: Seconds = EVICTION_SECONDS,
    break_lock: BreakLock = False,
) -> None:
    """Bring a live cluster back to the release before, from the middle of an upgrade or after it."""
    from kubewright.spec import load

    load(inventory)
    if to is not None:
        from kubewright.releases import release_for

        release_for(to)
    from deploy.waves import ROLLBACK
    from kubewright.verbs.upgrade.moving import Options
    from kubewright.verbs.upgrade.moving import rollback as run

    options = Options(
        max_unavailable=max_unavailable, eviction_seconds=pod_eviction_timeout, break_lock=break_lock, plan=plan,
        to=to or "", unasked=yes,
    )  # fmt: skip
    _run(
        inventory, options, "rollback", lambda *told: run(told[0], ROLLBACK, told[1], options, told[2]), yes=yes, as_json=as_json
    )


def _run(
    inventory: Path,
    options: Options,
    verb: str,
    run: Callable[[Path, Callable[[Event], None], Callable[[Outcome], bool]], Outcome],
    *,
    yes: bool,
    as_json: bool,
) -> None:
    """Show the steps, or carry them out and tell how it went."""
    folder = folder_of(inventory)
    if options.plan:
        outcome = run(folder, lambda event: preview.say(event.text), lambda _outcome: False)
        _show(outcome, as_json=as_json)
        raise typer.Exit(ATTENTION if outcome.steps else DONE)
    with Progress(folder, verb) as progress:
        outcome = run(folder, progress.show, _accept(progress, yes=yes))
    assert outcome.summary is not None, "an answer of no aborts"
    progress.ended(outcome.summary, f"{outcome.move.command} -i {inventory}")
    release = outcome.move.target.kubernetes
    if not outcome.edited:
        typer.echo(f'write kubernetes: "{release}" into cluster.yaml by hand: the place of its value can\'t be told', err=True)
        raise typer.Exit(FAILED)
    typer.echo(f"the cluster runs {release}, and cluster.yaml names it")


def _accept(progress: Progress, *, yes: bool) -> Callable[[Outcome], bool]:
    """Show what is to be done; ask, where something can't be taken back."""

    def accept(outcome: Outcome) -> bool:
        with progress.paused():
            _show(outcome)
            if outcome.steps and (outcome.announced or outcome.move.verb == "rollback") and not yes:
                typer.confirm("carry this out?", abort=True)
            return True

    return accept


def _show(outcome: Outcome, *, as_json: bool = False) -> None:
    if as_json:
        steps = [{"title": step.title, "hosts": list(step.hosts), "detail": step.detail} for step in outcome.steps]
        found = {"to": outcome.move.target.kubernetes, "steps": steps, "remarks": list(outcome.remarks),
                 "announced": list(outcome.announced)}  # fmt: skip
        typer.echo(json.dumps(found, indent=1))
        return
    if not outcome.steps:
        typer.echo(f"nothing to change: the cluster runs {outcome.move.target.kubernetes}")
    else:
        typer.echo(f"{outcome.move.verb} to {outcome.move.target.kubernetes}, etcd {outcome.move.target.etcd}:")
    for number, step in enumerate(outcome.steps, 1):
        typer.echo(f"{number}. {step}")
    for line in (*outcome.remarks, *(outcome.announced if outcome.steps else ())):
        typer.echo(f"note: {line}")
    for missing in outcome.missing:
        preview.say(f"not on this machine yet: {missing.command}")


def _status(inventory: Path, to: str | None, *, as_json: bool) -> None:
    from kubewright.releases import release_for
    from kubewright.spec import load

    load(inventory)
    target = release_for(to) if to else None
    from deploy.waves import CLUSTER
    from kubewright.plan.move import Move
    from kubewright.verbs.upgrade import telling
    from kubewright.verbs.upgrade.moving import status

    running = status(folder_of(inventory), CLUSTER, lambda event: preview.say(event.text))
    rows = telling.table(running)
    left = telling.left(running, Move(verb="upgrade", target=target)) if target else []
    if as_json:
        found = {name: {str(version): list(hosts) for version, hosts in versions.items()} for name, versions in rows}
        typer.echo(json.dumps({"running": found, "left": left}, indent=1))
    else:
        table = Table("component", "version", "hosts", box=None)
        for name, versions in rows:
            for version, hosts in versions.items():
                table.add_row(name, str(version), ", ".join(hosts))
        Console().print(table)
        for line in left:
            typer.echo(line)
    if left or any(len(versions) > 1 for _, versions in rows):
        raise typer.Exit(ATTENTION)
