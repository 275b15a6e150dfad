"""What deploy/cluster.py needs under stock pyinfra: one run shared by all hosts, and failures without tracebacks."""

from __future__ import annotations

import atexit
from functools import cache
from pathlib import Path
from typing import Any

from pyinfra import logger
from pyinfra import state as at_work
from pyinfra.api.exceptions import NestedOperationError, PyinfraError

from kubewright.errors import KubewrightError, Problem, ProblemsError
from kubewright.plan.role import Role
from kubewright.run.connection import adopt
from kubewright.run.run import Event, Run
from kubewright.run.steps import Step, run_step
from kubewright.spec import ClusterSpec, load


@cache
def run_for(inventory: Path, roles: tuple[Role, ...]) -> Run:
    """The run of that inventory: the deploy file is executed once a host, the run is made once."""
    spec = load(inventory)
    refuse_fewer(spec, inventory)
    run = Run(inventory=inventory, spec=spec, roles=roles, notify=_log)
    # pyinfra leaves out the last step, which ends the run, when a host failed, and everything when it is interrupted.
    atexit.register(run.abandon)
    return run


def refuse_fewer(spec: ClusterSpec, inventory: Path) -> None:
    """PyinfraError, which ends pyinfra before any operation, unless it works on every host of the spec: whoever has a part
    only takes no lock on the other masters, and counts no quorum."""
    active = {host.name for host in at_work.active_hosts}
    failed = {host.name for host in at_work.failed_hosts}
    missing = [host.name for host in spec.hosts if host.name not in active]
    out = " ".join(f"--without {name}" for name in missing)
    problems = [
        Problem(
            where=name,
            what="pyinfra could not connect to it" if name in failed else "pyinfra was told to leave it out (--limit, --exclude)",
            allowed="every host of cluster.yaml",
            todo=f"{'start it' if name in failed else 'take that option away'}, or: kubewright apply -i {inventory} {out}",
        )
        for name in missing
    ]
    if problems:
        raise PyinfraError("nothing was changed:\n" + "\n".join(map(str, problems)))


def _log(event: Event) -> None:
    where = f"[{event.host}] " if event.host else ""
    if event.kind == "failed":
        logger.error("%s%s: %s", where, event.step, event.text)
    elif event.kind == "say":
        logger.info("%s", event.text)
    for line in event.lines:
        logger.info("%s%s: %s", where, event.step, line)


def call(state: Any, host: Any, run: Run, step: Step) -> bool:
    """`step` on pyinfra's `host`. A failure is logged once, by `_log`; pyinfra is told without a traceback."""
    if host.name not in run.hosts:
        adopt(run, host.name, host.connector.client)
    told = run.failure is not None
    try:
        run_step(run, step, host.name)
    except KubewrightError as error:
        if isinstance(error, ProblemsError) and not told:
            logger.error("%s", error)
        raise NestedOperationError(str(error)) from error
    return True
