"""`kubewright.tls.serving` over connections of its own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from kubewright.plan.role import Role
from kubewright.run.connection import everyone
from kubewright.run.run import Run
from kubewright.spec import load
from kubewright.tls.serving import Shown, serving


def serving_now(inventory: Path, roles: Sequence[Role]) -> dict[str, dict[int, Shown]]:
    """The certificate that every listener serves. HostsUnfit when a host does not answer."""
    run = Run(inventory=inventory, spec=load(inventory), roles=roles)
    with everyone(run):
        return serving(run.remotes, run.plan, roles)
