"""Every role's checks on every host it runs on, with testinfra over the run's own connections.

All checks of all hosts run at the same time; `questions` combines their commands for a host into one.
"""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import gevent
from testinfra.backend.base import BaseBackend, CommandResult
from testinfra.host import Host as TestinfraHost

from kubewright.errors import HostsUnfit
from kubewright.hosts.ssh import SshHost
from kubewright.model.certificates import leaves
from kubewright.plan.role import Check, Role
from kubewright.run.connection import connected
from kubewright.run.run import Run
from kubewright.spec import load
from kubewright.tls import port_certificates
from kubewright.verbs.fixtures import Fixtures
from kubewright.verbs.questions import Questions
from pki import status


@dataclass(frozen=True, kw_only=True)
class Result:
    """One check on one host. `message` says why it failed, empty when it passed."""

    host: str
    role: str
    check: str
    seconds: float = 0.0
    message: str = ""
    skipped: str = ""
    """Why it could not run on this host; it then counts neither as passed nor as failed."""

    @property
    def holds(self) -> bool:
        return not self.message and not self.skipped


class _Backend(BaseBackend):  # type: ignore[misc]
    """testinfra over an open connection, as root."""

    NAME = "kubewright"

    def __init__(self, questions: Questions) -> None:
        super().__init__(questions.remote.name)
        self.questions = questions

    def run(self, command: str, *args: str, **_kwargs: Any) -> CommandResult:
        line = self.get_command(command, *args)
        answer = self.questions.ask(line)
        return self.result(answer.status, self.encode(line), answer.stdout.encode(), answer.stderr.encode())


def verify(inventory: Path, roles: Sequence[Role]) -> tuple[Result, ...]:
    """The results, host by host. HostsUnfit when no host answers; one that does not answer is a result."""
    run = Run(inventory=inventory, spec=load(inventory), roles=roles)
    with connected(run):
        if not run.hosts:
            raise HostsUnfit(run.unreachable)
        # A host that answers does the work that one host does for the whole cluster.
        run.plan = replace(run.plan, absent=frozenset(problem.where for problem in run.unreachable))
        return (*_silent(run), *_expired(run), *_checked(run), *_served(run))


def _silent(run: Run) -> Iterator[Result]:
    for problem in run.unreachable:
        why = str(problem).removeprefix(f"{problem.where}: ")
        yield Result(host=problem.where, role="connection", check="the host answers over SSH", message=why)


def _expired(run: Run) -> list[Result]:
    """The root cause of many other failures: expired certificates in the store."""
    now = dt.datetime.now(dt.UTC)
    every = status.lines(run.store.entries, now)
    gone = status.of_gone_hosts(every, {leaf.name for leaf in leaves(run.plan)})
    ended = [line for line in every if line.not_after <= now and line not in gone]
    todo = {"authority": "; kubewright certs rotate-ca"}
    return [
        Result(
            host=line.name.partition("/")[2] or "this machine",
            role="certificates",
            check=f"{line.name} is valid",
            message=f"it expired {line.not_after:%Y-%m-%d %H:%M} UTC{todo.get(line.kind, '; kubewright certs renew')}",
        )
        for line in ended
    ]


def _checked(run: Run) -> list[Result]:
    hosts = {name: TestinfraHost(_Backend(Questions(run.remotes[name]))) for name in run.hosts}
    wanted = [(name, role, check) for name in hosts for role in run.roles for check in _checks(run, role, name)]
    with Fixtures(hosts, run.plan, [(role.name, check.needs) for _, role, check in wanted if check.needs]) as fixtures:

        def look(name: str, role: Role, check: Check) -> Result:
            return _result(run, hosts[name], name, role, check, fixtures)

        results = settled(look, wanted, () if run.unreachable else AGAIN)
    broken = [Result(host=b.host, role=b.role, check=b.title, message=b.why) for b in fixtures.broken]
    return [*results, *broken]


AGAIN = (3, 4, 5)
"""Seconds after which failed checks run again. Endpoints and rules follow a restart within about ten: an
apiserver enters the endpoints of `kubernetes` every ten seconds [kubernetes: pkg/controlplane/instance.go
DefaultEndpointReconcilerInterval]. Without repeats where a host is off, since its failures stay."""


def settled(
    look: Callable[[str, Role, Check], Result], wanted: Sequence[tuple[str, Role, Check]], again: Sequence[float]
) -> list[Result]:
    """The results of `wanted`, run in parallel; failed ones run again after each pause of `again`."""
    results: dict[int, Result] = {}
    for pause in (0, *again):
        due = [number for number in range(len(wanted)) if number not in results or not results[number].holds]
        if not due:
            break
        gevent.sleep(pause)
        jobs = {number: gevent.spawn(look, *wanted[number]) for number in due}
        gevent.joinall(list(jobs.values()), raise_error=True)
        results |= {number: job.value for number, job in jobs.items()}
    return [results[number] for number in range(len(wanted))]


def _ssh(run: Run, name: str) -> SshHost:
    host = run.hosts[name]
    assert isinstance(host, SshHost)
    return host


def _checks(run: Run, role: Role, name: str) -> Iterator[Check]:
    node = run.plan.node(name)
    yield from (check for check in role.checks if (check.on or role.runs_on)(node))


def _result(run: Run, host: TestinfraHost, name: str, role: Role, check: Check, fixtures: Fixtures) -> Result:
    began, message = time.monotonic(), ""
    try:
        needed = (fixtures.made(check.needs),) if check.needs else ()
        check.run(host, run.plan, run.plan.node(name), *needed)
    except Exception as error:
        # A broken component's answer may not even be JSON, and testinfra raises errors of many kinds: a finding, not a crash.
        message = str(error) or type(error).__name__
    return Result(host=name, role=role.name, check=check.title, seconds=time.monotonic() - began, message=message)


def _served(run: Run) -> Iterator[Result]:
    """The certificate that each TLS port serves, compared with the one on its host's disk."""
    for found in port_certificates.findings({name: _ssh(run, name) for name in run.hosts}, run.plan, run.roles):
        yield Result(host=found.host, role=found.role, check=found.title, message=found.message, skipped=found.skipped)


def junit(results: Sequence[Result]) -> bytes:
    """The results as a JUnit XML document."""
    failures, skipped = sum(bool(r.message) for r in results), sum(bool(r.skipped) for r in results)
    suite = ElementTree.Element("testsuite", name="kubewright verify", tests=str(len(results)), failures=str(failures))
    suite.set("skipped", str(skipped))
    for result in results:
        case = ElementTree.SubElement(
            suite, "testcase", classname=f"{result.host}.{result.role}", name=result.check, time=f"{result.seconds:.3f}"
        )
        if result.message:
            ElementTree.SubElement(case, "failure", message=result.message)
        elif result.skipped:
            ElementTree.SubElement(case, "skipped", message=result.skipped)
    document: bytes = ElementTree.tostring(suite, encoding="utf-8", xml_declaration=True)
    return document
