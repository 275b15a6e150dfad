"""`Host` over a machine in memory: commands are separate processes, and survive a killed run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import gevent

from kubewright.errors import Failed
from kubewright.hosts import ssh
from kubewright.hosts.script import Staged
from kubewright.model.places import STATE
from kubewright.observe.observed import Observed
from kubewright.plan.desired import Payload
from kubewright.run.nodes import ASK
from tests.simulation.faults import Fault
from tests.simulation.process import Process, Session, Work
from tests.simulation.shell import Ended, Shell

OBSERVES_FOR: float = getattr(ssh, "OBSERVE_TIMEOUT", 60.0)
"""Seconds that SshHost waits for an answer to `observe`."""


class SimHost:
    """See `kubewright.hosts.host.Host`."""

    def __init__(self, name: str, session: Session) -> None:
        self.name, self.session, self.fleet = name, session, session.fleet
        self.commands = self.sent = 0
        self.gone = False

    def _command(self, *kinds: str) -> Fault | None:
        """One round trip begins. Failed when the connection is broken."""
        self.session.alive()
        self.commands += 1
        self.session.tick()
        self.fleet.clock.sleep(self.fleet.random.uniform(0.005, 0.2))
        self.session.alive()
        fault = self.session.weather.fault(*kinds)
        if fault is not None and fault.kind == "refuse":
            self.gone = self.gone or self.session.weather.random.random() < 0.5
            raise Failed(f"{self.name}: the command was not taken")
        if self.gone:
            raise Failed(f"{self.name}: the SSH connection broke")
        return fault

    def _carry_out(self, work: Work, fault: Fault | None) -> None:
        process = Process(self.session, self.name, work, fault.steps if fault else None)
        self.session.processes.append(process)
        if fault is not None and fault.kind == "lose":
            gevent.spawn(self._lose, process, fault.seconds)
        ended = process.result.get()
        self.session.alive()
        if isinstance(ended, Ended):
            raise Failed(f"{self.name}: {ended}")

    def _lose(self, process: Process, seconds: float) -> None:
        self.fleet.clock.sleep(seconds)
        if not process.result.ready():
            self.gone = True
            process.result.set(Ended(-1, "the SSH connection broke"))

    @property
    def _role(self) -> str:
        return getattr(gevent.getcurrent(), "role", "")

    def observe(self) -> Observed:
        self._command("refuse")
        until = self.fleet.clock.now + OBSERVES_FOR
        while self.name in self.fleet.at_work:
            if self.fleet.clock.now > until:
                raise Failed(f"{self.name}: the SSH connection broke (timeout)")
            self.fleet.clock.sleep(1)
            self.session.alive()
        return self.fleet.observe(self.name, self.session.units)

    def push(self, payloads: Sequence[Payload]) -> None:
        machine, role = self.fleet.machines[self.name], self._role

        def work(tick: Callable[[], None]) -> None:
            for payload in payloads:
                tick()
                machine.write(f"{payload.path}.new", b"", mode=payload.mode)
                tick()
                machine.remove(f"{payload.path}.new")
                machine.write(payload.path, b"", mode=payload.mode)
                machine.resize(payload.path, payload.size)
                tick()
                machine.manifest[payload.path] = (payload.sha256, payload.size)

        self.fleet.happened("push", self.session.number, self.name, role)
        self._carry_out(work, self._command("refuse", "fail", "lose"))
        self.fleet.happened("pushed", self.session.number, self.name, role)

    def act(self, staged: Staged) -> None:
        role = self._role
        self.fleet.happened("act", self.session.number, self.name, role)
        fault = self._command("refuse", "fail", "lose")

        def work(tick: Callable[[], None]) -> None:
            machine = self.fleet.machines[self.name]
            for path in [p for p in machine.entries if p.startswith(f"{STATE}/") and p.endswith(".kubewright")]:
                if "/" not in path.removeprefix(f"{STATE}/"):
                    machine.remove(path)
            Shell(self.fleet, self.name, staged, self.session.number, tick).execute()

        self._carry_out(work, fault)
        self.fleet.happened("acted", self.session.number, self.name, role)

    def shell(self, script: str) -> str:
        """Empty for everything but the nodes and their drains; runs do without the rest."""
        self._command("refuse")
        if "downgrade" in script or "endpoint status" in script:
            return self.fleet.etcdctl(self.name, script)
        return self.fleet.nodes(self.name) if script == ASK else self.fleet.drains(self.name, script)

    def read(self, paths: Sequence[str]) -> Mapping[str, bytes]:
        self._command("refuse")
        contents = self.fleet.machines[self.name].contents
        return {path: contents[path] for path in paths if path in contents}

    def hold(self, holder: str) -> str | None:
        self._command("refuse")
        held = self.fleet.held.setdefault(self.name, (self.session.number, holder))
        return None if held[0] == self.session.number else f"{held[1]} pid=1"

    def let_go(self) -> None:
        self.session.alive()
        if self.fleet.held.get(self.name, (None, ""))[0] == self.session.number:
            del self.fleet.held[self.name]

    def break_hold(self) -> None:
        self._command("refuse")
        self.fleet.held.pop(self.name, None)

    def record(self, line: str) -> None:
        self._command("refuse")
        self.fleet.machines[self.name].journal.append(line)
