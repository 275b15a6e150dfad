"""`kubewright user`: people's access. No logic: kubewright.verbs.users does the work, and is imported only when it is needed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from kubewright.cli.inventory import Inventory, folder_of
from kubewright.errors import ATTENTION, BadInput, Problem

app = typer.Typer(help="People: kubeconfigs with namespaces, a role and an expiry.", no_args_is_help=True)

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Name = Annotated[str, typer.Argument(help="Who: alice, bob.smith.")]


@app.command()
def add(
    name: Name,
    inventory: Inventory,
    group: Annotated[list[str], typer.Option("--group", help="A group they are in; again for another.")] = [],  # noqa: B006
    namespace: Annotated[
        list[str], typer.Option("--namespace", help="NS, or NS:ROLE; again for another. Each gets a context.")
    ] = [],  # noqa: B006 - typer copies it
    role: Annotated[str, typer.Option(help="view, edit or admin, where --namespace names none.")] = "view",
    days: Annotated[int, typer.Option(help="How long the certificate or token lives.")] = 90,
    token: Annotated[bool, typer.Option("--token", help="A service account's bound token instead of a certificate.")] = False,
    csr: Annotated[
        Path | None, typer.Option("--csr", help="Certify the key of this request (PEM); theirs is never seen here.")
    ] = None,
    create_namespaces: Annotated[bool, typer.Option("--create-namespaces", help="Make those that are not there.")] = False,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="The kubeconfig; NAME.kubeconfig by default.")] = None,
) -> None:
    """Give a person access, and write their kubeconfig (mode 0600)."""
    from kubewright.spec import load

    spec = load(inventory)
    from kubewright.verbs.users import adding
    from kubewright.verbs.users.cluster import Cluster
    from kubewright.verbs.users.wanted import wanted

    target = output or Path(f"{Path(name).name}.kubeconfig")
    request, problems = _request(csr, token)
    problems += adding.output_problems(target)
    asked = wanted(
        name, groups=group, namespaces=namespace, role=role, days=days, more=problems,
        in_workgroup=any(name in one.people for one in spec.workgroups),
    )  # fmt: skip
    issued = adding.add(
        folder_of(inventory), Cluster(spec), asked, target,
        kind="token" if token else "certificate", csr=request, create_namespaces=create_namespaces,
    )  # fmt: skip
    typer.echo(
        f"{target}: {name} until {issued.expires} ({issued.kind} {issued.id}); it ends with: kubewright user revoke {name}"
    )
    if request:
        typer.echo(f"its key is not inside: {name} puts it beside the file, as {name}.key")


def _request(csr: Path | None, token: bool) -> tuple[bytes | None, list[Problem]]:
    from kubewright.verbs.users.credential import csr_problems

    if csr is None:
        return None, []
    if token:
        what, allowed = "a request for a certificate, with --token", "one of the two"
        return None, [Problem(where="--csr", what=what, allowed=allowed, todo="leave one out")]
    try:
        request = csr.read_bytes()
    except OSError as error:
        why = (error.strerror or "unreadable").lower()
        return None, [Problem(where=f"--csr {csr}", what=why, allowed="a PEM file", todo="name it")]
    return request, csr_problems(f"--csr {csr}", request)


@app.command("list")
def list_(inventory: Inventory, as_json: Json = False) -> None:
    """List all users: groups, roles, expiry, state. Exits 2 when a revoked one has access again."""
    from kubewright.spec import load

    spec = load(inventory)
    from kubewright.verbs.users.cluster import Cluster
    from kubewright.verbs.users.listing import listed

    rows = listed(folder_of(inventory), Cluster(spec))
    if as_json:
        typer.echo(json.dumps([vars(row) for row in rows], indent=1))
    else:
        table = Table("name", "state", "kind", "credential", "groups", "namespaces", "expires", "revoked", box=None)
        for row in rows:
            grants = ", ".join(f"{namespace}:{role}" for namespace, role in row.grants)
            table.add_row(row.name, row.state, row.kind, row.id, ", ".join(row.groups), grants, row.expires, row.revoked)
        Console().print(table)
    if again := sorted({row.name for row in rows if row.state == "revived"}):
        typer.echo(f"revoked, and let in again, by a restored etcd perhaps: {', '.join(again)}; revoke them again", err=True)
        raise typer.Exit(ATTENTION)


@app.command()
def revoke(name: Name, inventory: Inventory) -> None:
    """End a person's access at once, also for certificates and tokens that have not expired."""
    from kubewright.spec import load

    spec = load(inventory)
    from kubewright.verbs.users.cluster import Cluster
    from kubewright.verbs.users.revoking import revoke as run
    from kubewright.verbs.users.wanted import name_problems

    if problems := list(name_problems(name)):
        raise BadInput(problems)
    done = run(folder_of(inventory), Cluster(spec), name)
    typer.echo(f"{name} has no rights any more: {done.removed} objects removed, refused by {', '.join(done.refused_by) or 'all'}")
    for master in done.silent:
        typer.echo(f"{master}: its apiserver does not answer; it refuses {name} as soon as it reads from etcd again", err=True)
    for loophole in done.loopholes:
        typer.echo(f"look at: {loophole}")
