"""Every verb, registered."""

from __future__ import annotations

import typer

from kubewright.cli import artifacts, cluster, encryption, lab, rotation, secrets, spec, users

app = typer.Typer(help="Highly available Kubernetes on your own machines.", no_args_is_help=True, pretty_exceptions_enable=False)
app.command()(spec.init)
app.command()(spec.validate)
app.command()(spec.schema)
app.command()(cluster.apply)
app.command()(cluster.plan)
app.command()(cluster.verify)
app.command()(cluster.history)
app.command()(cluster.reset)
app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})(cluster.kubectl)
app.add_typer(artifacts.app, name="artifacts")
app.add_typer(rotation.app, name="certs")
app.add_typer(secrets.app, name="secrets")
app.add_typer(encryption.app, name="encryption")
app.add_typer(lab.app, name="lab")
app.add_typer(users.app, name="user")
