"""`kubewright backup` and `kubewright restore`. No logic."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from kubewright.cli.inventory import Inventory, folder_of
from kubewright.cli.progress import Progress
from kubewright.errors import FAILED, BadInput, Problem

if TYPE_CHECKING:
    from kubewright.backup.keeping import Listed
    from kubewright.verbs.backup.drill import Drilled

PasswordFile = Annotated[
    Path | None,
    typer.Option("--password-file", help="The backup's password, in a file with mode 0600; else $KUBEWRIGHT_BACKUP_PASSWORD, "
                 "else it is asked for."),
]  # fmt: skip
IdentityFile = Annotated[Path | None, typer.Option("--identity", help="The private key of a recipient: a file of age-keygen.")]


def backup(
    inventory: Inventory,
    to: Annotated[Path | None, typer.Option("--to", help="The folder for backups, instead of backups/ in the inventory.")] = None,
    keep: Annotated[int | None, typer.Option("--keep", min=1, help="Remove older backups: this many stay.")] = None,
    recipient: Annotated[
        list[str], typer.Option("--recipient", help="Encrypt for this public key of age, without a password; may be repeated.")
    ] = [],  # noqa: B006 - typer copies it
    password_file: PasswordFile = None,
    identity: IdentityFile = None,
    show: Annotated[bool, typer.Option("--list", help="List the backups in the folder; take none.")] = False,
    verify: Annotated[Path | None, typer.Option("--verify", help="Decrypt this backup and compare every sum; take none.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for --list and --verify.")] = False,
) -> None:
    """Take a backup of the whole cluster: etcd, keys, cluster.yaml, record and journal, in one encrypted file."""
    from kubewright.backup import archive, keeping, keys
    from kubewright.spec import load

    if show and verify:
        raise typer.BadParameter("either --list or --verify")
    spec = load(inventory)
    folder = folder_of(inventory)
    if show:
        _list(keeping.listed(to or folder / keeping.FOLDER, spec.name), as_json=as_json)
        return
    if verify is not None:
        manifest = archive.verify(verify, keys.openers(identity, password_file))
        if as_json:
            typer.echo(json.dumps(asdict(manifest), indent=1, sort_keys=True))
            return
        took = manifest.snapshot
        typer.echo(f"{verify}: whole; {manifest.cluster}, taken {manifest.taken} with Kubernetes {manifest.kubernetes}")
        typer.echo(f"{len(manifest.files)} files; etcd {took.version}: {took.keys} keys at revision {took.revision}")
        typer.echo(f"objects: {sum(took.counts.values())} of {len(took.counts)} resources")
        return
    locks = keys.locks(recipient, password_file)
    from deploy.waves import ROLES
    from kubewright.verbs.backup.backup import backup as run

    with Progress(folder, "backup") as progress:
        made = run(folder, ROLES, progress.show, locks=locks, to=to, keep=keep)
    for name in made.manifest.left_out:
        typer.echo(f"not in it: {name}")
    for path in made.removed:
        typer.echo(f"removed: {path}")


def _list(rows: Sequence[Listed], *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps([{"taken": one.taken, "path": str(one.path), "size": one.size} for one in rows], indent=1))
        return
    table = Table("taken", "MB", "file", box=None)
    for one in rows:
        table.add_row(time.strftime("%Y-%m-%d %H:%M:%S UTC", time.strptime(one.taken, "%Y%m%dT%H%M%SZ")), f"{one.size / 1e6:.1f}",
                      str(one.path))  # fmt: skip
    Console(soft_wrap=True).print(table)


def _drilled(found: Drilled) -> None:
    """What the drill found. Exits 1 when the backup and what came out of it differ."""
    table = Table("resource", "in the backup", "restored", box=None)
    for resource, (before, after) in found.counts.items():
        table.add_row(resource, str(before), str(after), style=None if before == after else "red")
    Console().print(table)
    total = sum(before for before, _ in found.counts.values())
    typer.echo(f"{total} objects of {len(found.counts)} resources; the API listed {found.listed} of {found.kinds} kinds")
    typer.echo(f"{found.seconds:.0f} s")
    for problem in found.problems:
        typer.echo(problem, err=True)
    if found.problems:
        raise typer.Exit(FAILED)


def restore(
    path: Annotated[Path, typer.Argument(metavar="FILE", help="The backup.")],
    inventory: Inventory,
    password_file: PasswordFile = None,
    identity: IdentityFile = None,
    replace_live: Annotated[
        bool, typer.Option("--replace-live", help="Restore though the cluster answers: what it has since the backup is given up.")
    ] = False,
    drill: Annotated[
        bool,
        typer.Option("--drill", help="Prove the backup here: etcd and an apiserver on loopback; no host changes."),
    ] = False,
) -> None:
    """Restore a backup onto the hosts of cluster.yaml, the same as before or new ones; without one, the backup's is taken.

    etcd gets a new cluster token, so no member from before can rejoin, and later revisions, so clients list again.
    """
    from kubewright.backup import keys

    if drill and replace_live:
        raise typer.BadParameter("either --drill or --replace-live")
    folder = folder_of(inventory)
    if not path.is_file():
        allowed, todo = "a backup", "list them with: kubewright backup --list"
        raise BadInput([Problem(where=str(path), what="no such file", allowed=allowed, todo=todo)])
    openers = keys.openers(identity, password_file)
    if drill:
        from kubewright.verbs.backup.drill import drill as prove

        _drilled(prove(path, openers, typer.echo, inventory=folder))
        return
    from deploy.waves import CLUSTER
    from kubewright.verbs.backup.restore import restore as run

    folder.mkdir(parents=True, exist_ok=True)
    with Progress(folder, "restore") as progress:
        summary = run(folder, CLUSTER, progress.show, path, openers=openers, replace_live=replace_live)
    progress.ended(summary, f"kubewright restore {path} -i {inventory}")
