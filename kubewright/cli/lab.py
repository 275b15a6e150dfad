"""`kubewright lab`: local hosts to try a cluster on."""

from __future__ import annotations

import json
import subprocess
import time
from typing import Annotated

import typer

from kubewright import lab

app = typer.Typer(help="Local hosts: system containers made on this machine, as root.", no_args_is_help=True)

Name = Annotated[str, typer.Option("--name", help="Which lab; several live side by side.")]
_PASS_ON = {"allow_extra_args": True, "ignore_unknown_options": True}


@app.command()
def up(
    name: Name = lab.DEFAULT_NAME,
    hosts: Annotated[str, typer.Option(help="The hosts' names, with commas.")] = ",".join(lab.DEFAULT_HOSTS),
) -> None:
    """Make a lab and boot its hosts."""
    began = time.monotonic()
    made = lab.new_lab(name, tuple(hosts.split(",")))
    lab.up(made, typer.echo)
    typer.echo(f"lab {name}: {len(made.hosts)} hosts answer after {time.monotonic() - began:.1f} s")


@app.command()
def down(name: Name = lab.DEFAULT_NAME) -> None:
    """Take a lab down and remove everything of it."""
    lab.down(name)
    typer.echo(f"lab {name}: nothing of it is left")


@app.command()
def stop(host: str, name: Name = lab.DEFAULT_NAME) -> None:
    """Cut a host's power."""
    lab.stop(lab.load(name), host)


@app.command()
def start(
    hosts: Annotated[list[str] | None, typer.Argument(help="Hosts to start; by default all that are off.")] = None,
    name: Name = lab.DEFAULT_NAME,
) -> None:
    """Switch hosts on again."""
    lab.start(lab.load(name), tuple(hosts or ()))


@app.command()
def rebuild(host: str, name: Name = lab.DEFAULT_NAME) -> None:
    """Replace a host: same name and address, an empty disk, another machine-id and SSH host key."""
    lab.rebuild(lab.load(name), host)
    typer.echo(f"lab {name}: {host} is a new machine; {lab.load(name).known_hosts} has its key")


@app.command()
def status(name: Name = lab.DEFAULT_NAME, as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Show a lab, and which hosts run."""
    found = lab.status(name)
    if as_json:
        typer.echo(json.dumps(found))
        return
    for host in found["hosts"]:
        typer.echo(f"{host['name']:<10} {host['address']:<15} {host['state']}")


def _run_inside(name: str, command: list[str]) -> None:
    """Run it in the lab's network and end as it ended: a shell's 127 when there is no such program, 128 + a signal."""
    with lab.entered(name):
        try:
            status = subprocess.run(command, check=False).returncode
        except (FileNotFoundError, PermissionError) as error:
            typer.echo(f"{command[0]}: {error.strerror}", err=True)
            status = 127
    raise typer.Exit(status if status >= 0 else 128 - status)


@app.command("exec", context_settings=_PASS_ON)
def exec_(context: typer.Context, name: Name = lab.DEFAULT_NAME) -> None:
    """Run a command where the hosts' addresses are reachable: lab exec -- CMD."""
    if not context.args:
        raise typer.BadParameter("which command? kubewright lab exec -- CMD")
    _run_inside(name, context.args)


@app.command(context_settings=_PASS_ON)
def ssh(
    context: typer.Context,
    host: str,
    name: Name = lab.DEFAULT_NAME,
    user: Annotated[str, typer.Option(help="root, ops (sudo), or admin (sudo with a password).")] = "root",
) -> None:
    """Log in to a host, or run a command on it: lab ssh HOST -- CMD."""
    found = lab.load(name)
    options = ["-i", str(found.key), "-o", "IdentitiesOnly=yes", "-o", "LogLevel=ERROR"]
    options += ["-o", f"UserKnownHostsFile={found.known_hosts}", "-o", "StrictHostKeyChecking=yes"]
    # A host that is off does not answer.
    options += ["-o", "ConnectTimeout=10"]
    _run_inside(name, ["ssh", *options, "-l", user, str(found.host(host).address), *context.args])
