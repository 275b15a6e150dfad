"""A run under stock pyinfra: one run that all hosts share, what `pyinfra --dry` shows, and failures without tracebacks."""

from __future__ import annotations

import atexit
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import gevent
from gevent.lock import RLock
from pyinfra import host as this_host
from pyinfra import logger
from pyinfra import state as at_work
from pyinfra.api import FunctionCommand, operation
from pyinfra.api.exceptions import NestedOperationError, PyinfraError

from kubewright.errors import KubewrightError, Problem, ProblemsError
from kubewright.plan.wave import Wave, roles_of
from kubewright.run.connection import adopt
from kubewright.run.events import Event
from kubewright.run.run import Run
from kubewright.run.session import Session
from kubewright.run.steps import END, OBSERVE, Step, run_step, steps
from kubewright.spec import ClusterSpec, load


@dataclass(frozen=True, kw_only=True)
class Stock:
    """The run, and a look at the hosts for pyinfra's prepare phase: that phase asks what would change, and changes nothing.

    Both share one session: the run judges what the look observed, and asks the hosts again only under the lock.
    """

    run: Run
    look: Run
    after: Callable[[Run], None] = lambda _run: None
    """Done once, when the last step has ended without a failure."""
    _once: RLock = field(default_factory=RLock)
    _ended: list[bool] = field(default_factory=list)

    @property
    def steps(self) -> tuple[Step, ...]:
        return steps(self.run.waves)

    def ended(self, step: Step) -> None:
        """A step has ended on a host."""
        if step.title == END and self.run.failure is None and not self._ended:
            self._ended.append(True)
            self.after(self.run)

    def due(self, step: Step, name: str) -> bool:
        """Whether `step` would change anything on that host. PyinfraError, with every problem, when the hosts are unfit."""
        with self._once:
            if not self.look.hosts:
                for host in at_work.inventory.get_active_hosts():
                    adopt(self.look.session, host.name, host.connector.client)
                try:
                    gevent.joinall([gevent.spawn(self.look.session.observe, n) for n in self.look.hosts], raise_error=True)
                    self.look.check()
                except KubewrightError as error:
                    self.look.failure = error
            if self.look.failure is not None:  # pyinfra asks for its other hosts too
                raise PyinfraError(f"nothing was changed:\n{self.look.failure}") from self.look.failure
            return step.due(self.look, name)


@cache
def stock_for(inventory: Path, waves: tuple[Wave, ...]) -> Stock:
    """The one of that inventory: a deploy is executed once a host."""
    return stock_of(inventory, load(inventory), waves)


def stock_of(inventory: Path, spec: ClusterSpec, waves: tuple[Wave, ...], verb: str = "apply") -> Stock:
    """A run of that spec under stock pyinfra. `verb`: what lock and journal call it."""
    refuse_fewer(spec, inventory)
    session = Session(inventory=inventory, spec=spec, roles=roles_of(waves), notify=_log, verb=verb)
    run = Run(session=session, waves=waves)
    # pyinfra leaves out the last step, which ends the run, when a host failed, and everything when it is interrupted.
    atexit.register(run.abandon)
    return Stock(run=run, look=Run(session=session, waves=waves, obtains=False))


@operation()  # type: ignore[untyped-decorator]  # pyinfra is not typed for strict mode
def bring(stock: Stock, step: Step) -> Iterator[FunctionCommand]:
    """One step on one host, as far as it changes anything there."""
    if not at_work.is_executing and not stock.due(step, this_host.name):
        this_host.noop(f"{step.title}: nothing to change")
        return
    yield FunctionCommand(call, (stock.run, step), {})
    if step.title == END:
        yield FunctionCommand(ended, (stock, step), {})


def refuse_fewer(spec: ClusterSpec, inventory: Path) -> None:
    """PyinfraError, which ends pyinfra before any operation, unless it works on every host of the spec. A run on fewer hosts
    takes no lock on the other masters, and counts no quorum."""
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


def ended(_state: Any, _host: Any, stock: Stock, step: Step) -> bool:
    """After the last step on a host."""
    stock.ended(step)
    return True


def call(state: Any, host: Any, run: Run, step: Step) -> bool:
    """`step` on pyinfra's `host`. A failure is logged once, by `_log`; pyinfra is told without a traceback."""
    if host.name not in run.hosts:
        adopt(run.session, host.name, host.connector.client)
    if step.title == OBSERVE and host.name in run.observed:
        return True  # by the look
    told = run.failure is not None
    try:
        run_step(run, step, host.name)
    except KubewrightError as error:
        if isinstance(error, ProblemsError) and not told:
            logger.error("%s", error)
        raise NestedOperationError(str(error)) from error
    return True
