"""What deploy/cluster.py needs under stock pyinfra: one run shared by all hosts, and failures without tracebacks."""

from __future__ import annotations

import atexit
from functools import cache
from pathlib import Path
from typing import Any

from pyinfra import logger
from pyinfra.api.exceptions import NestedOperationError

from deploy.steps import ROLES
from kubewright.engine.connection import adopt
from kubewright.engine.run import Event, Run
from kubewright.engine.steps import Step, run_step
from kubewright.errors import KubewrightError, ProblemsError
from kubewright.spec import load


@cache
def run_for(inventory: Path) -> Run:
    """The run of that inventory: the deploy file is executed once a host, the run is made once."""
    run = Run(inventory=inventory, spec=load(inventory), roles=ROLES, notify=_log)
    # pyinfra leaves out the last step, which ends the run, when a host failed, and everything when it is interrupted.
    atexit.register(run.abandon)
    return run


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
