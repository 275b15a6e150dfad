"""`kubewright secrets`: the private keys on this machine, in an Ansible Vault or in plain text."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from kubewright.cli.inventory import Inventory, folder_of

app = typer.Typer(help="The private keys on this machine: put into an Ansible Vault, or taken out.", no_args_is_help=True)


@app.command()
def encrypt(inventory: Inventory) -> None:
    """Encrypt the keys into a vault; also before the first apply. Removes admin.kubeconfig, which has a key."""
    from kubewright.verbs.secrets import encrypt as run

    for line in run(folder_of(inventory)):
        typer.echo(line)


@app.command()
def decrypt(inventory: Inventory) -> None:
    """Decrypt the keys into a plain file, mode 0600."""
    from kubewright.verbs.secrets import decrypt as run

    for line in run(folder_of(inventory)):
        typer.echo(line)


@app.command()
def rekey(
    inventory: Inventory,
    new_password_file: Annotated[
        Path | None, typer.Option(help="The new password, as secrets.password_file names the old.")
    ] = None,
) -> None:
    """Change the vault's password; the new one is asked for without a file."""
    from kubewright.verbs.secrets import rekey as run

    for line in run(folder_of(inventory), new_password_file):
        typer.echo(line)


@app.command()
def kubeconfig(inventory: Inventory) -> None:
    """Print the administrator's kubeconfig with its key; with a vault no file has it."""
    from kubewright.verbs.secrets import kubeconfig as run

    sys.stdout.buffer.write(run(folder_of(inventory)))
