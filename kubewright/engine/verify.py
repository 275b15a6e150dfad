"""Every role's checks on every host it runs on, with testinfra over the run's own connections."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import gevent
from testinfra.backend.base import BaseBackend, CommandResult
from testinfra.host import Host as TestinfraHost

from kubewright.engine.connection import connected
from kubewright.engine.remote import Remote
from kubewright.engine.run import Run
from kubewright.engine.ssh import SshHost
from kubewright.errors import HostsUnfit
from kubewright.plan.role import Check, Role
from kubewright.spec import load
from pki import status
from pki.table import leaves


@dataclass(frozen=True, kw_only=True)
class Result:
    """One check on one host. `message` says why it does not hold, empty when it does."""

    host: str
    role: str
    check: str
    seconds: float
    message: str

    @property
    def holds(self) -> bool:
        return not self.message


class _Backend(BaseBackend):  # type: ignore[misc]
    """testinfra over an open connection, as root."""

    NAME = "kubewright"

    def __init__(self, remote: Remote) -> None:
        super().__init__(remote.name)
        self.remote = remote

    def run(self, command: str, *args: str, **_kwargs: Any) -> CommandResult:
        line = self.get_command(command, *args)
        answer = self.remote.run(f"export LC_ALL=C; {line}", timeout=60)
        return self.result(answer.status, self.encode(line), answer.stdout.encode(), answer.stderr.encode())


def verify(inventory: Path, roles: Sequence[Role]) -> tuple[Result, ...]:
    """The results, host by host. HostsUnfit when a host does not answer."""
    run = Run(inventory=inventory, spec=load(inventory), roles=roles)
    with connected(run):
        if run.unreachable:
            raise HostsUnfit(run.unreachable)
        jobs = [gevent.spawn(_host, run, name) for name in run.hosts]
        gevent.joinall(jobs, raise_error=True)
        return (*_expired(run), *(result for job in jobs for result in job.value))


def _expired(run: Run) -> list[Result]:
    """What nothing else can be blamed for: certificates of the store that have ended, first of all."""
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
            seconds=0.0,
            message=f"it expired {line.not_after:%Y-%m-%d %H:%M} UTC{todo.get(line.kind, '; kubewright certs renew')}",
        )
        for line in ended
    ]


def _host(run: Run, name: str) -> list[Result]:
    ssh = run.hosts[name]
    assert isinstance(ssh, SshHost)
    host, node = TestinfraHost(_Backend(ssh.remote)), run.plan.node(name)
    return [_result(run, host, name, role, check) for role in run.roles if role.runs_on(node) for check in role.checks]


def _result(run: Run, host: TestinfraHost, name: str, role: Role, check: Check) -> Result:
    began, message = time.monotonic(), ""
    try:
        check.run(host, run.plan, run.plan.node(name))
    except Exception as error:
        # What a broken component answers may not even be JSON, and testinfra raises what it likes: a finding, not a crash.
        message = str(error) or type(error).__name__
    return Result(host=name, role=role.name, check=check.title, seconds=time.monotonic() - began, message=message)


def junit(results: Sequence[Result]) -> bytes:
    """The results as a JUnit XML document."""
    failures = sum(not r.holds for r in results)
    suite = ElementTree.Element("testsuite", name="kubewright verify", tests=str(len(results)), failures=str(failures))
    for result in results:
        case = ElementTree.SubElement(
            suite, "testcase", classname=f"{result.host}.{result.role}", name=result.check, time=f"{result.seconds:.3f}"
        )
        if not result.holds:
            ElementTree.SubElement(case, "failure", message=result.message)
    document: bytes = ElementTree.tostring(suite, encoding="utf-8", xml_declaration=True)
    return document
