"""pyinfra's side of a run: its state, its connections, its operations. Import this before anything that opens sockets."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import gevent
from gevent import events, monkey

# At each module that it patches gevent looks through the metadata of every installed package for its own plugins, of
# which there are none here: half of the time that patching takes.
events.notify_and_call_entry_points = events.notify
monkey.patch_all()

from pyinfra.api import Config, Inventory, State  # noqa: E402
from pyinfra.api.connect import disconnect_all  # noqa: E402
from pyinfra.api.exceptions import PyinfraError  # noqa: E402
from pyinfra.api.operation import add_op  # noqa: E402
from pyinfra.api.operations import run_ops  # noqa: E402
from pyinfra.api.state import StateStage  # noqa: E402
from pyinfra.operations import python  # noqa: E402

from kubewright import lab  # noqa: E402
from kubewright.errors import Failed, HostsUnfit, Problem  # noqa: E402
from kubewright.hosts.inventory import host_data, sudo_password  # noqa: E402
from kubewright.hosts.reach import is_direct, sockets, unreachable  # noqa: E402
from kubewright.hosts.remote import Remote  # noqa: E402
from kubewright.hosts.ssh import SshHost  # noqa: E402
from kubewright.observe.script import script  # noqa: E402
from kubewright.plan import backends, peers  # noqa: E402
from kubewright.plan.places import places  # noqa: E402
from kubewright.releases.systems import PROGRAMS  # noqa: E402
from kubewright.run.run import Run  # noqa: E402
from kubewright.run.session import Session  # noqa: E402
from kubewright.run.steps import Step, run_step  # noqa: E402

HANDSHAKE_TIMEOUT = 15
"""Seconds; see `reach`."""


def adopt(session: Session, name: str, client: Any) -> None:
    """Make the host behind an open connection one of the session's."""
    host = next(h for h in session.spec.hosts if h.name == name)
    units = tuple(unit for role in session.roles for unit in role.units)
    remote = Remote(name, client, user=session.spec.ssh_of(host).user, password=sudo_password(session.spec, host))
    probes = peers.probes(peers.asked(session.plan, session.peer_ports, session.plan.node(name)))
    network = backends.question(session.plan, session.plan.node(name))
    asked = script(units, PROGRAMS, places(session.roles), probes, network, deep=session.deep)
    session.hosts[name] = SshHost(name, remote, asked)
    session.remotes[name] = remote


@contextlib.contextmanager
def connected(session: Session) -> Iterator[Session]:
    """Connect to every host; at the end, close the connections. Hosts that can't be reached are in `session.unreachable`: see
    `everyone`."""
    # pyinfra prints tracebacks of what our steps raise; the run reports them itself.
    logging.getLogger("pyinfra").setLevel(logging.CRITICAL)
    # A port that nothing listens on is an answer here; paramiko would print it as an error too.
    logging.getLogger("paramiko.transport").setLevel(logging.CRITICAL)
    inventory, spec = Path(session.inventory).resolve(), session.spec
    wanted = [host for host in spec.hosts if host.name not in session.without]
    # Sockets stay in the namespace that they were made in: only connecting needs the lab's.
    with lab.entered(spec.lab) if spec.lab else contextlib.nullcontext():
        direct = [host for host in wanted if is_direct(spec.ssh_of(host))]
        open_sockets, silent = sockets(spec, direct)
        session.unreachable += silent
        state = _state([(host.name, host_data(spec, host, inventory, open_sockets.get(host.name))) for host in wanted])
        lost = {problem.where for problem in silent}
        session.unreachable += _connect(session, state, [host for host in state.inventory if host.name not in lost])
    try:
        for host in (host for host in state.inventory if host in state.activated_hosts):
            adopt(session, host.name, host.connector.client)
        account(session)
        yield session
    except BaseException as error:
        session.end(error)
        raise
    else:
        session.end()
    finally:
        for host in list(state.activated_hosts):
            host.connector.client.close()
        disconnect_all(state)


@contextlib.contextmanager
def everyone(session: Session) -> Iterator[Session]:
    """Connect to every host. HostsUnfit, with each that does not answer, before anything is asked of the others."""
    with connected(session):
        if session.unreachable:
            raise HostsUnfit(session.unreachable)
        yield session


def _state(hosts: Sequence[tuple[str, dict[str, Any]]]) -> State:
    config = Config(PARALLEL=len(hosts), CONNECT_TIMEOUT=HANDSHAKE_TIMEOUT)
    state = State(Inventory((list(hosts), {})), config, check_for_changes=False)
    state.set_stage(StateStage.Connect)
    return state


def account(session: Session) -> None:
    """Failed unless every host of the spec is connected, known as unreachable, or left out: none is ever lost on the way."""
    known = {*session.hosts, *(problem.where for problem in session.unreachable), *session.without}
    if lost := [host.name for host in session.spec.hosts if host.name not in known]:
        raise Failed(f"{', '.join(lost)}: neither connected nor refused, so nothing is done; report this fault of kubewright")


def _connect(session: Session, state: State, hosts: Sequence[Any]) -> list[Problem]:
    """Connect to all at once, and activate those that answer. A problem for every other, whatever was raised."""

    def connect(host: Any) -> Exception | None:
        try:
            host.connect(show_errors=False, raise_exceptions=True)
        except Exception as error:  # keys that can't be loaded raise what they like [pyinfra: connectors/ssh_util.py]
            return error
        return None

    jobs = {host: gevent.spawn(connect, host) for host in hosts}
    gevent.joinall(list(jobs.values()), raise_error=True)
    for host, job in jobs.items():
        if job.value is None:
            state.activate_host(host)
    return [unreachable(session.spec, host.name, job.value) for host, job in jobs.items() if job.value is not None]


def execute(run: Run, steps: Sequence[Step]) -> None:
    """Run `steps` on every connected host, each step on all hosts before the next. What failed is in `run.failure`."""
    if not run.hosts:
        return  # `session.unreachable` has them all
    # pyinfra executes a state once: each plan of a session gets a state of its own over the same connections.
    state = _state([(name, {}) for name in run.hosts])
    for host in state.inventory:
        host.connector.client, host.connected = run.session.remotes[host.name].client, True
        state.activate_host(host)
    state.set_stage(StateStage.Prepare)
    for step in steps:
        add_op(state, python.call, name=step.title, function=_call, run=run, step=step)
    state.set_stage(StateStage.Execute)
    try:
        run_ops(state)
    except PyinfraError as error:  # "no hosts remaining", most often: the run knows why
        if run.failure is None:
            run.failure = Failed(f"pyinfra ended the run ({error}); run the same command again: it resumes from what is done")


def _call(state: State, host: Any, run: Run, step: Step) -> None:
    run_step(run, step, host.name)
