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
    """Take a lab down and leave nothing of it behind."""
    lab.down(name)
    typer.echo(f"lab {name}: nothing of it is left")


@app.command()
def stop(host: str, name: Name = lab.DEFAULT_NAME) -> None:
    """Cut a host's power."""
    lab.stop(lab.load(name), host)


@app.command()
def start(hosts: list[str], name: Name = lab.DEFAULT_NAME) -> None:
    """Switch hosts on again."""
    lab.start(lab.load(name), tuple(hosts))


@app.command()
def status(name: Name = lab.DEFAULT_NAME, as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """What a lab has and which hosts run."""
    found = lab.status(name)
    if as_json:
        typer.echo(json.dumps(found))
        return
    for host in found["hosts"]:
        typer.echo(f"{host['name']:<10} {host['address']:<15} {host['state']}")


@app.command("exec", context_settings=_PASS_ON)
def exec_(context: typer.Context, name: Name = lab.DEFAULT_NAME) -> None:
    """Run a command where the hosts' addresses are reachable: lab exec -- CMD."""
    with lab.entered(name):
        raise typer.Exit(subprocess.run(context.args, check=False).returncode)


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
    with lab.entered(name):
        command = ["ssh", *options, "-l", user, str(found.host(host).address), *context.args]
        raise typer.Exit(subprocess.run(command, check=False).returncode)
