"""Transfer etcd's leadership while client traffic to all members is dropped, before the leader restarts."""

from __future__ import annotations

import contextlib
import shlex
from typing import TYPE_CHECKING

import gevent

from kubewright.errors import Failed
from kubewright.hosts.host import Host
from kubewright.plan.changes import Action
from kubewright.plan.desired import Transfer
from kubewright.plan.role import Role

if TYPE_CHECKING:
    from kubewright.run.run import Run


def transfer(run: Run, role: Role, name: str) -> None:
    """Before `name` restarts. Nothing happens unless it leads and the unit says how to transfer leadership."""
    if not run.observed[name].etcd_leads:
        return
    fellows = [run.hosts[n.name] for n in run.plan.nodes if role.runs_on(n) and n.name in run.observed]
    for change in run.pending(role, name).units:
        if change.action is Action.RESTART and change.unit.transfer is not None:
            _carry_out(run.hosts[name], fellows, change.unit.transfer)


def hand_over(run: Run, role: Role, name: str) -> None:
    """Before the member of `name` leaves: the same, if it leads."""
    run.session.see(name)
    if not run.observed[name].etcd_leads:
        return
    fellows = [run.hosts[n.name] for n in run.plan.nodes if role.runs_on(n) and n.name in run.observed]
    for unit in role.desired(run.context(name)).units:
        if unit.transfer is not None:
            _carry_out(run.hosts[name], fellows, unit.transfer)


def _carry_out(there: Host, fellows: list[Host], way: Transfer) -> None:
    if not (whom := _shell(there, way.choose).strip()):
        return
    try:
        _everywhere(fellows, way.drop)
        _shell(there, f"set -- {shlex.quote(whom)}\n{way.move}")
    finally:
        _everywhere(fellows, way.admit)


def _everywhere(fellows: list[Host], script: str) -> None:
    gevent.joinall([gevent.spawn(_shell, host, script) for host in fellows])


def _shell(host: Host, script: str) -> str:
    # A host that can't be reached shows in what it has to do itself.
    with contextlib.suppress(Failed):
        return host.shell(script)
    return ""
