"""Every role's checks on every host it runs on, with testinfra over the session's connections.

A role has checks of its own; more follow from its data (`plan/derived`). All checks of all hosts run at the same time.
`questions` makes one command of what they ask of a host.
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
from kubewright.model.cluster import Node, Plan
from kubewright.plan.derived import CERTIFICATES, derived_checks
from kubewright.plan.role import Check, Role
from kubewright.run.connection import connected
from kubewright.run.session import Session
from kubewright.spec import load
from kubewright.tls import port_certificates
from kubewright.verbs.fixtures import Fixtures
from kubewright.verbs.questions import Questions
from pki import status
from pki.store import Store


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
    session = Session(inventory=inventory, spec=load(inventory), roles=roles)
    with connected(session):
        if not session.hosts:
            raise HostsUnfit(session.unreachable)
        # What one host does for the whole cluster is done by one that answers.
        session.plan = replace(session.plan, absent=frozenset(problem.where for problem in session.unreachable))
        return (*_silent(session), *_expired(session), *_checked(session), *_served(session))


def _silent(session: Session) -> Iterator[Result]:
    for problem in session.unreachable:
        why = str(problem).removeprefix(f"{problem.where}: ")
        yield Result(host=problem.where, role="connection", check="the host answers over SSH", message=why)


def _expired(session: Session) -> list[Result]:
    """What nothing else can be blamed for: certificates of the store that have ended, first of all."""
    now = dt.datetime.now(dt.UTC)
    every = status.lines(Store(session.inventory).entries, now)
    gone = status.of_gone_hosts(every, {leaf.name for leaf in leaves(session.plan)})
    ended = [line for line in every if line.not_after <= now and line not in gone]
    todo = {"authority": "; kubewright certs rotate-ca"}
    return [
        Result(
            host=line.name.partition("/")[2] or "this machine",
            role=CERTIFICATES,
            check=f"{line.name} is valid",
            message=f"it expired {line.not_after:%Y-%m-%d %H:%M} UTC{todo.get(line.kind, '; kubewright certs renew')}",
        )
        for line in ended
    ]


def _checked(session: Session) -> list[Result]:
    hosts = {name: TestinfraHost(_Backend(Questions(session.remotes[name]))) for name in session.hosts}
    plan = session.plan
    wanted = [(name, role, check) for name in hosts for role, check in checks(plan, plan.node(name), session.roles)]
    with Fixtures(hosts, plan, [(role, check.needs) for _, role, check in wanted if check.needs]) as fixtures:

        def look(name: str, role: str, check: Check) -> Result:
            return _result(session, hosts[name], name, role, check, fixtures)

        results = settled(look, wanted, () if session.unreachable else AGAIN)
    broken = [Result(host=b.host, role=b.role, check=b.title, message=b.why) for b in fixtures.broken]
    return [*results, *broken]


AGAIN = (3, 4, 5)
"""Seconds after which failed checks run again. Endpoints and rules follow a restart within about ten: an
apiserver enters the endpoints of `kubernetes` every ten seconds [kubernetes: pkg/controlplane/instance.go
DefaultEndpointReconcilerInterval]. Without repeats where a host is off, since its failures stay."""


def settled(
    look: Callable[[str, str, Check], Result], wanted: Sequence[tuple[str, str, Check]], again: Sequence[float]
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


def _ssh(session: Session, name: str) -> SshHost:
    host = session.hosts[name]
    assert isinstance(host, SshHost)
    return host


def checks(plan: Plan, node: Node, roles: Sequence[Role]) -> Iterator[tuple[str, Check]]:
    """All checks of `node`, by role's name: units, ports and files first, which may explain the others' failures."""
    yield from derived_checks(plan, node, roles)
    yield from ((role.name, check) for role in roles for check in role.checks if (check.on or role.runs_on)(node))


def _result(session: Session, host: TestinfraHost, name: str, role: str, check: Check, fixtures: Fixtures) -> Result:
    began, message = time.monotonic(), ""
    try:
        needed = (fixtures.made(check.needs),) if check.needs else ()
        check.run(host, session.plan, session.plan.node(name), *needed)
    except Exception as error:
        # A broken component's answer may not even be JSON, and testinfra raises errors of many kinds: a finding, not a crash.
        message = str(error) or type(error).__name__
    return Result(host=name, role=role, check=check.title, seconds=time.monotonic() - began, message=message)


def _served(session: Session) -> Iterator[Result]:
    """What each TLS port serves, against the certificate on its host's disk."""
    for found in port_certificates.findings({name: _ssh(session, name) for name in session.hosts}, session.plan, session.roles):
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
