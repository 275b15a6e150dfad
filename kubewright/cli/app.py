"""Every verb, registered."""

from __future__ import annotations

from typing import Annotated

import typer

from kubewright.cli import artifacts, backup, cluster, dns, encryption, lab, nodes, rotation, secrets, spec, upgrade, users
from kubewright.releases import DEFAULT

app = typer.Typer(help="Highly available Kubernetes on your own machines.", no_args_is_help=True, pretty_exceptions_enable=False)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version  # slow to import

        typer.echo(f"kubewright {version('kubewright')}, Kubernetes {DEFAULT.kubernetes} by default")
        raise typer.Exit


@app.callback()
def _options(
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass


app.command()(spec.init)
app.command()(spec.validate)
app.command()(spec.schema)
app.command()(cluster.apply)
app.command()(cluster.plan)
app.command()(cluster.verify)
app.command()(upgrade.upgrade)
app.command()(upgrade.rollback)
app.command()(cluster.history)
app.command()(cluster.reset)
app.command()(backup.backup)
app.command()(backup.restore)
app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})(cluster.kubectl)
app.add_typer(artifacts.app, name="artifacts")
app.add_typer(rotation.app, name="certs")
app.add_typer(secrets.app, name="secrets")
app.add_typer(encryption.app, name="encryption")
app.add_typer(lab.app, name="lab")
app.add_typer(users.app, name="user")
app.add_typer(dns.app, name="dns")
app.add_typer(nodes.app, name="node")
