"""`kubewright apply`: the steps of deploy/cluster.py through pyinfra's API, with what a person wants to know around them."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from kubewright.engine.connection import connected, execute
from kubewright.engine.kubeconfig import write_admin_kubeconfig
from kubewright.engine.run import Event, Run
from kubewright.engine.steps import Step, steps
from kubewright.errors import HostsUnfit, KubewrightError
from kubewright.plan.role import Role
from kubewright.spec import load


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What a run did. Seconds, remote commands and bytes by host."""

    changed: dict[tuple[str, str], tuple[str, ...]]
    seconds: dict[str, float]
    total: float
    commands: dict[str, int]
    sent: dict[str, int]
    failure: Exception | None


def apply(inventory: Path, roles: tuple[Role, ...], notify: Callable[[Event], None]) -> Summary:
    """Bring the hosts to what the spec says. BadInput before any host is asked; a failure is in the summary."""
    began = time.monotonic()
    run = Run(inventory=inventory, spec=load(inventory), roles=roles, notify=notify)
    seconds: dict[str, float] = {}
    with connected(run) as state:
        seconds["connect"] = time.monotonic() - began
        execute(run, state, tuple(_timed(step, run, seconds) for step in steps(roles)))
        if run.failure is None and not run.unreachable:
            write_admin_kubeconfig(inventory, run.plan, run.store)
        commands = {name: host.commands for name, host in run.hosts.items()}
        sent = {name: host.sent for name, host in run.hosts.items()}
    return Summary(
        changed=run.changed,
        seconds=seconds,
        total=time.monotonic() - began,
        commands=commands,
        sent=sent,
        failure=run.failure or _unreached(run),
    )


def _unreached(run: Run) -> KubewrightError | None:
    return HostsUnfit(run.unreachable) if run.unreachable else None


def _timed(step: Step, run: Run, seconds: dict[str, float]) -> Step:
    began: list[float] = []

    def timed(step_run: Run, host: str) -> None:
        if not began:
            began.append(time.monotonic())
            run.notify(Event(kind="step", step=step.title))
        try:
            step.run(step_run, host)
        finally:
            seconds[step.title] = time.monotonic() - began[0]

    return Step(title=step.title, run=timed)
