"""pyinfra's side of a run: its state, its connections, its operations. Import this before anything that opens sockets."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gevent import events, monkey

# At each module that it patches gevent looks through the metadata of every installed package for its own plugins, of
# which there are none here: half of the time that patching takes.
events.notify_and_call_entry_points = events.notify
monkey.patch_all()

from pyinfra.api import Config, Inventory, State  # noqa: E402
from pyinfra.api.connect import connect_all, disconnect_all  # noqa: E402
from pyinfra.api.exceptions import PyinfraError  # noqa: E402
from pyinfra.api.operation import add_op  # noqa: E402
from pyinfra.api.operations import run_ops  # noqa: E402
from pyinfra.api.state import BaseStateCallback, StateStage  # noqa: E402
from pyinfra.operations import python  # noqa: E402

from kubewright import lab  # noqa: E402
from kubewright.engine.inventory import host_data, sudo_password  # noqa: E402
from kubewright.engine.reach import is_direct, sockets, unreachable  # noqa: E402
from kubewright.engine.remote import Remote  # noqa: E402
from kubewright.engine.run import Run  # noqa: E402
from kubewright.engine.ssh import SshHost  # noqa: E402
from kubewright.engine.steps import Step, run_step  # noqa: E402
from kubewright.plan import peers  # noqa: E402
from kubewright.plan.observed_script import script  # noqa: E402
from roles.base.tables import PROGRAMS  # noqa: E402

HANDSHAKE_TIMEOUT = 15
"""Seconds; see `reach`."""


class _Failures(BaseStateCallback):  # type: ignore[misc]
    """Keeps why a host could not be reached, so that all of them are reported at once."""

    def __init__(self, run: Run) -> None:
        self.run = run

    def host_connect_error(self, _state: State, host: Any, error: Exception) -> None:
        self.run.unreachable.append(unreachable(self.run.spec, host.name, error))


def adopt(run: Run, name: str, client: Any) -> None:
    """Make the host behind an open connection one of the run's."""
    host = next(h for h in run.spec.hosts if h.name == name)
    units = tuple(unit for role in run.roles for unit in role.units)
    remote = Remote(name, client, user=run.spec.ssh_of(host).user, password=sudo_password(run.spec, host))
    probes = peers.probes(peers.asked(run.plan, run.doors, run.plan.node(name)))
    run.hosts[name] = SshHost(name, remote, script(units, PROGRAMS, probes, deep=run.deep))


@contextlib.contextmanager
def connected(run: Run) -> Iterator[State]:
    """Connect to every host. Those that can't be reached are in `run.unreachable`."""
    # pyinfra prints tracebacks of what our steps raise; the run reports them itself.
    logging.getLogger("pyinfra").setLevel(logging.CRITICAL)
    # A port that nothing listens on is an answer here; paramiko would print it as an error too.
    logging.getLogger("paramiko.transport").setLevel(logging.CRITICAL)
    inventory = Path(run.inventory).resolve()
    wanted = [host for host in run.spec.hosts if host.name not in run.without]
    # Sockets stay in the namespace that they were made in: only connecting needs the lab's.
    with lab.entered(run.spec.lab) if run.spec.lab else contextlib.nullcontext(), contextlib.suppress(PyinfraError):
        direct = [host for host in wanted if is_direct(run.spec.ssh_of(host))]
        open_sockets, silent = sockets(run.spec, direct)
        run.unreachable += silent
        hosts = [(host.name, host_data(run.spec, host, inventory, open_sockets.get(host.name))) for host in wanted]
        state = State(
            Inventory((hosts, {})),
            Config(PARALLEL=len(hosts), CONNECT_TIMEOUT=HANDSHAKE_TIMEOUT, FAIL_PERCENT=100),
            check_for_changes=False,
        )
        state.add_callback_handler(_Failures(run))
        state.set_stage(StateStage.Connect)
        lost = {problem.where for problem in silent}
        state.limit_hosts = [host for host in state.inventory if host.name not in lost]
        connect_all(state)
    for host in state.active_hosts:
        adopt(run, host.name, host.connector.client)
    try:
        yield state
    finally:
        for host in list(state.activated_hosts):
            host.connector.client.close()
        disconnect_all(state)


def execute(run: Run, state: State, steps: tuple[Step, ...]) -> None:
    """Run `steps` on every connected host, each step on all hosts before the next. What failed is in `run.failure`."""
    state.set_stage(StateStage.Prepare)
    for step in steps:
        add_op(state, python.call, name=step.title, function=_call, run=run, step=step)
    state.set_stage(StateStage.Execute)
    with contextlib.suppress(PyinfraError):  # "no hosts remaining": the run knows why
        run_ops(state)


def _call(state: State, host: Any, run: Run, step: Step) -> None:
    run_step(run, step, host.name)
