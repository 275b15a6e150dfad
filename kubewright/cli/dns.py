"""`kubewright dns`: names outside Kubernetes. No logic: kubewright.verbs.dns does the work, and is imported only when it is
needed."""

from __future__ import annotations

import json
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from kubewright.cli.inventory import Inventory

app = typer.Typer(help="Names outside Kubernetes in the cluster's DNS (dns_provider skydns).", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="A name below one of network.dns_zones: printer.example.org.")]


@app.command()
def add(
    name: Name,
    kind: Annotated[str, typer.Argument(metavar="TYPE", help="A, AAAA, CNAME, TXT or SRV.")],
    values: Annotated[list[str], typer.Argument(metavar="VALUE...", help="192.0.2.9; for SRV 'PRIORITY WEIGHT PORT TARGET'.")],
    inventory: Inventory,
) -> None:
    """Keep a name. The values replace its others of that type."""
    from kubewright.spec import load

    spec = load(inventory)
    from kubewright.verbs.dns.keeping import add as run

    changed = run(spec, name, kind, values)
    typer.echo(f"{name} {kind.upper()} {', '.join(values)}{'' if changed else ' (unchanged)'}")


@app.command("list")
def list_(inventory: Inventory, as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """List the names that `add` keeps."""
    from kubewright.spec import load

    spec = load(inventory)
    from kubewright.verbs.dns.keeping import listed

    found = listed(spec)
    if as_json:
        typer.echo(json.dumps([vars(record) for record in found], indent=1))
        return
    table = Table("name", "type", "value", box=None)
    for record in found:
        table.add_row(record.name, record.type, record.value)
    Console().print(table)


@app.command()
def remove(
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help="Names of `kubewright dns list`.")],
    inventory: Inventory,
    kind: Annotated[str, typer.Option("--type", help="Only their records of this type.")] = "",
) -> None:
    """Remove names, all or none."""
    from kubewright.spec import load

    spec = load(inventory)
    from kubewright.verbs.dns.keeping import remove as run

    count = run(spec, names, kind)
    typer.echo(f"records removed: {count} ({', '.join(names)})")
