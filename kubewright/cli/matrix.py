"""The output of `verify --tls`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console
from rich.table import Table

from kubewright.errors import FAILED

if TYPE_CHECKING:
    from kubewright.tls.matrix import Tried
    from kubewright.verbs.verify_tls import Report


def verify(inventory: Path, *, as_json: bool) -> None:
    """Try everything and print it. Exits 1 when something is not as it must be."""
    from deploy.waves import ROLES
    from kubewright.verbs.verify_tls import verify_tls

    report = verify_tls(inventory, ROLES)
    if as_json:
        typer.echo(json.dumps(document(report), indent=1))
    else:
        show(report, Console())
    if report.failures:
        raise typer.Exit(FAILED)


def document(report: Report) -> dict[str, Any]:
    """The report as JSON's own types."""
    return {
        "counts": dict(report.counts),
        "failures": list(report.failures),
        "left_out": dict(report.left_out),
        "attempts": [_attempt(tried) for tried in report.tried],
        "listeners": [vars(found) for found in report.listeners],
    }


def _attempt(tried: Tried) -> dict[str, Any]:
    attempt, endpoint = tried.attempt, tried.attempt.endpoint
    return {
        "kind": attempt.kind.value,
        "from": attempt.source,
        "as": attempt.who,
        "role": endpoint.role,
        "host": endpoint.host,
        "address": endpoint.address,
        "port": endpoint.port,
        "what": attempt.call.title if attempt.call else attempt.path,
        "answer": tried.answer,
        "holds": tried.holds,
        "message": tried.message,
    }


def show(report: Report, console: Console) -> None:
    """The matrix, a row for each port of a role; then all failures, the attempts left out, and the counts."""
    from kubewright.tls.attempts import Kind

    rows = dict.fromkeys((t.attempt.endpoint.role, t.attempt.endpoint.port) for t in report.tried)
    table = Table("role", "port", *(kind.value for kind in Kind), box=None)
    for role, port in rows:
        mine = [t for t in report.tried if (t.attempt.endpoint.role, t.attempt.endpoint.port) == (role, port)]
        table.add_row(role, str(port), *(_cell([t for t in mine if t.attempt.kind is kind]) for kind in Kind))
    console.print(table)
    own = [found for found in report.listeners if not found.planned and not found.message]
    console.print("\nThe hosts' own listeners, named and not judged:" if own else "")
    for found in own:
        console.print(
            f"  {found.host}: {found.protocol} {found.port} {found.process or 'the kernel'} {', '.join(found.addresses)}"
        )
    for what, why in report.left_out.items():
        console.print(f"[yellow]left out[/yellow] {what}: {why}", markup=True, highlight=False, soft_wrap=True)
    for failure in report.failures:
        console.print("[red]FAILED[/red]", end=" ")
        console.print(failure, markup=False, highlight=False, soft_wrap=True)
    console.print(", ".join(f"{number} {what}" for what, number in report.counts.items()), highlight=False, soft_wrap=True)


def _cell(tried: list[Tried]) -> str:
    failed = sum(not t.holds for t in tried)
    return f"[red]{failed} of {len(tried)} FAILED" if failed else f"[green]{len(tried)} ok" if tried else ""
