"""`kubewright certs`: the expiry of certificates, and those that an external CA signs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from kubewright.cli.inventory import Inventory, folder_of
from kubewright.errors import ATTENTION

if TYPE_CHECKING:
    from kubewright.verbs.certificates import Status
    from pki.status import Line, Served

app = typer.Typer(help="Certificates: what is there, and what is signed elsewhere.", no_args_is_help=True)


@app.command()
def status(
    inventory: Inventory,
    days: Annotated[int | None, typer.Option(help="Attention below this many days; pki.renew_before_days without it.")] = None,
    live: Annotated[bool, typer.Option("--live", help="Ask the hosts which certificates their servers show.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Every certificate: expiry, issuer, places, restarts.

    Exits 2 when one expires soon, waits for a signature, or (--live) an older one is still served.
    """
    from kubewright.spec import load

    load(inventory)
    from deploy.waves import ROLES
    from kubewright.verbs.certificates import look

    found = look(folder_of(inventory), ROLES, days=days, served=_served(folder_of(inventory)) if live else None)
    _json(found) if as_json else _text(found)
    if found.expiring or found.awaited or found.unknown:
        raise typer.Exit(ATTENTION)


def _served(inventory: Path) -> Served:
    from deploy.waves import ROLES
    from kubewright.tls.serving import fingerprints
    from kubewright.verbs.serving_now import serving_now

    return fingerprints(serving_now(inventory, ROLES))


@app.command()
def requests(
    inventory: Inventory,
    output: Annotated[Path, typer.Option("--output", "-o", help="The folder for the requests, one file each (PKCS #10).")],
) -> None:
    """Write a request for every certificate that an external CA signs. Their keys stay in the store."""
    from kubewright.verbs.certificates import write_requests

    paths = write_requests(folder_of(inventory), output)
    for path in paths:
        typer.echo(str(path))
    typer.echo(f"{len(paths)} requests; when they are signed: kubewright certs import -i {inventory} {output}" if paths
               else "nothing has to be signed elsewhere")  # fmt: skip


@app.command("import")
def take_in(
    inventory: Inventory,
    paths: Annotated[list[Path], typer.Argument(help="Signed certificates (PEM), or folders of them.")],
) -> None:
    """Import certificates from an external CA; all of them, or none when one has a fault."""
    from kubewright.verbs.certificates import take_in as run

    came, missing = run(folder_of(inventory), paths)
    for name in came:
        typer.echo(name)
    typer.echo(f"{len(came)} certificates imported, {len(missing)} still to come")


def _json(found: Status) -> None:
    rows = [
        {
            **_dated(line),
            "expires_soon": line.expires_within(found.threshold),
            "uses": [vars(use) for use in found.uses.get(line.name, [])],
            "serves": list(found.serves(line)) if found.served is not None else None,
        }
        for line in found.lines
    ]
    document = {
        "threshold_days": found.threshold,
        "certificates": rows,
        "of_gone_hosts": [_dated(line) for line in found.gone],
        "signed_elsewhere": list(found.awaited),
        "served_by_others": list(found.unknown),
    }
    typer.echo(json.dumps(document, indent=1))


def _dated(line: Line) -> dict[str, object]:
    return {**vars(line), "not_before": line.not_before.isoformat(), "not_after": line.not_after.isoformat()}


def _text(found: Status) -> None:
    table = Table("certificate", "expires", "days", "issuer", "serial", "on", "file", "restarts", box=None)
    if found.served is not None:
        table.add_column("serves")
    for line in found.lines:
        style = "red" if line.days_left < 0 else "yellow" if line.expires_within(found.threshold) else None
        where = found.uses.get(line.name, [])
        hosts = ", ".join(dict.fromkeys(use.host for use in where)) or "-"
        paths = ", ".join(dict.fromkeys(use.path for use in where)) or "-"
        units = ", ".join(dict.fromkeys(unit.removesuffix(".service") for use in where for unit in use.restarts)) or "-"
        name = line.name if line.key_here else f"{line.name} (key elsewhere)"
        row = [name, f"{line.not_after:%Y-%m-%d}", str(line.days_left), line.issuer, f"…{line.serial[-12:]}", hosts, paths, units]
        table.add_row(*row, *([", ".join(found.serves(line)) or "-"] if found.served is not None else []), style=style)
    Console(soft_wrap=True).print(table)
    for socket in found.unknown:
        typer.echo(f"{socket} serves a certificate that the store does not hold. To replace it, run: kubewright apply")
    soon = len(found.expiring)
    typer.echo(f"{len(found.lines)} certificates, {soon} with less than {found.threshold} days left")
    if valid := [line for line in found.gone if line.days_left >= 0]:
        hosts = ", ".join(sorted({line.name.rpartition("/")[2] for line in valid}))
        last = max(line.not_after for line in valid)
        typer.echo(
            f"{len(valid)} certificates of hosts or roles that are not in cluster.yaml any more ({hosts}) are valid until "
            f"{last:%Y-%m-%d} at the latest. They are not renewed. Kubernetes has no revocation list: their keys are accepted "
            "until then; to end that sooner: kubewright certs rotate-ca"
        )
    if found.awaited:
        typer.echo(f"{len(found.awaited)} to be signed elsewhere: kubewright certs requests -o FOLDER")
