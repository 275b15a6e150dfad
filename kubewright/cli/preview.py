"""A preview as text or JSON."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import typer

from kubewright.artifacts.model import UNKNOWN

if TYPE_CHECKING:
    from kubewright.artifacts import Missing
    from kubewright.verbs.apply import Preview


def say(text: str) -> None:
    """Progress, on standard error."""
    if text:
        print(text, file=sys.stderr)


def show(found: Preview, *, as_json: bool) -> None:
    """Print it: certificates that are due, then host by host."""
    due = [c for c in found.certificates if c[0] != "keep"]
    if as_json:
        rows = [{"verdict": v, "name": n, "reason": r} for v, n, r in found.certificates]
        lines = [vars(line) for line in found.lines]
        differences = [
            {"where": d.where, "class": str(d.kind), "was": d.was, "wanted": d.wanted, "effect": d.rule.effect}
            for d in found.differences
        ]
        document = {
            "differences": differences,
            "certificates": rows,
            "changes": lines,
            "unmanaged_nodes": list(found.unmanaged),
            "kept_namespaces": list(found.kept_namespaces),
            "missing": [vars(one) for one in found.missing],
        }
        typer.echo(json.dumps(document, indent=1))
        return
    for difference in found.differences:
        typer.echo(str(difference))
    for verdict, name, reason in due:
        typer.echo(f"certificate {name}: {verdict}, {reason}")
    host = ""
    for line in found.lines:
        if line.host != host:
            host = line.host
            typer.echo(f"\n{host}")
        typer.echo(f"  {line.role:<20} {line.what}")
        # A new file's diff is the whole file: only JSON has it.
        for row in line.diff.splitlines() if not line.diff.startswith("--- /dev/null") else ():
            typer.echo(f"      {row}")
    for name in found.unmanaged:
        typer.echo(f"node {name} is in the cluster and not in cluster.yaml; to take it out: {removal(name)}")
    for name in found.kept_namespaces:
        typer.echo(
            f"namespace {name} was a workgroup's; it stays with its pods and other objects; "
            f"to delete all of them: kubewright kubectl -i INVENTORY -- delete namespace {name}"
        )
    for one in found.missing:
        typer.echo(_missing(one))
    hosts = len({line.host for line in found.lines})
    typer.echo(f"\n{len(found.lines)} changes on {hosts} hosts, {len(due)} certificates" if found else "nothing to change")


def _missing(missing: Missing) -> str:
    return (
        f"\nnot on this machine ({missing.arch}): {', '.join(missing.names)}\n"
        f"  Getting them takes {missing.takes}.\n"
        f"  apply gets them; to get them now: {missing.command}\n"
        f"  Until then their sums and sizes are unknown. Above, {UNKNOWN!r} stands for each sum; a host that has the same file\n"
        "  already is shown as if it had another; the space that they need was not checked."
    )


def removal(node: str) -> str:
    """The command that removes a node from the cluster."""
    return f"kubewright kubectl -i INVENTORY -- delete node {node}"
