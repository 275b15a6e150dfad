"""The hosts together: what serves, who is healthy, what time it is, and what must never be seen."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field

from kubewright.plan.desired import STATE
from kubewright.plan.model import Plan
from kubewright.plan.observed import INSTALLED, PAYLOADS
from tests.simulation.clock import Clock
from tests.simulation.log import Happened, Log
from tests.simulation.machine import NOTIFY, Machine

ETCD, APISERVER, KUBELET = "etcd.service", "kube-apiserver.service", "kubelet.service"
LOAD_BALANCER = "kube-apiserver-load-balancer.service"
BROKEN, UNREADY = b"--bogus", b"--never-ready"
"""A flag that no component knows: it exits at once. One with which it runs and never serves."""


@dataclass(kw_only=True)
class Fleet:
    """A small world. `sick`: hosts whose etcd runs and does not answer."""

    plan: Plan
    machines: dict[str, Machine]
    random: random.Random
    clock: Clock = field(default_factory=Clock)
    log: Log = field(default_factory=Log)
    sick: set[str] = field(default_factory=set)
    at_work: dict[str, object] = field(default_factory=dict)
    """/run/kubewright.lock: by host, the process that has it."""
    held: dict[str, tuple[int, str]] = field(default_factory=dict)
    """/run/kubewright.run.lock: by host, the run and its line."""
    leader: str = ""
    down: dict[str, set[str]] = field(default_factory=dict)
    """By unit, the hosts on which a run stopped it and it is not ready again."""

    restarting: set[tuple[str, str]] = field(default_factory=set)
    """(Host, unit): the act that stopped it is not over."""

    def happened(self, what: str, run: int, host: str = "", role: str = "", text: str = "") -> None:
        self.log.events.append(Happened(at=self.clock.now, what=what, run=run, host=host, role=role, text=text))

    def wrong(self, text: str) -> None:
        self.log.broken.append(f"{self.clock.now:.1f}: {text}")

    def at(self, address: str) -> str:
        """The host with that address."""
        return next(n.name for n in self.plan.nodes if str(n.address) == address)

    # -- health

    def up(self, host: str, unit: str) -> bool:
        """Its process runs and had the time that it needs."""
        service = self.machines[host].services.get(unit)
        return service is not None and service.running and service.ready_at <= self.clock.now

    def _members_up(self) -> list[str]:
        return [n.name for n in self.plan.etcd_members if self.up(n.name, ETCD) and n.name not in self.sick]

    def healthy(self, host: str) -> bool:
        """etcd's /health: this member runs, and enough others do."""
        up = self._members_up()
        return host in up and len(up) >= self.plan.quorum

    def api_ready(self, host: str) -> bool:
        return self.up(host, APISERVER) and any(map(self.healthy, self.machines))

    def api_answers(self, host: str) -> bool:
        """The API as that host reaches it."""
        if self.plan.node(host).is_master:
            return self.api_ready(host)
        return self.up(host, LOAD_BALANCER) and any(self.api_ready(n.name) for n in self.plan.masters)

    def ready(self, host: str, unit: str) -> bool:
        """Whether the unit's own readiness probe would succeed."""
        if unit == ETCD:
            return self.healthy(host)
        if unit == APISERVER:
            return self.api_ready(host)
        if unit == "flanneld.service":
            return self.up(host, unit) and any(map(self.healthy, self.machines))
        return self.up(host, unit)

    def leads(self) -> str:
        up = self._members_up()
        if self.leader not in up:
            self.leader = up[0] if len(up) >= self.plan.quorum else ""
        return self.leader

    # -- what runs do to units

    def start(self, host: str, unit: str) -> bool:
        """Whether the process began: it has its binary and knows its flags."""
        machine, service = self.machines[host], self.machines[host].service(unit)
        binary = unit.removesuffix(".service")
        found = unit == LOAD_BALANCER or machine.executable(f"/usr/local/bin/{binary}")
        service.began_with = machine.sums()
        service.running = bool(service.read) and found and BROKEN not in service.read
        service.crashed = not service.running
        service.ready_at = math.inf if UNREADY in service.read else self.clock.now + self.random.uniform(0.5, 8)
        return service.running

    def reload(self, host: str, unit: str) -> bool:
        """Whether the process was there to read its files anew."""
        service = self.machines[host].service(unit)
        service.began_with = self.machines[host].sums()
        return service.running

    def revive(self, host: str) -> None:
        """systemd's Restart=always."""
        machine = self.machines[host]
        for unit in [u for u, s in machine.services.items() if s.crashed and not machine.gives_up]:
            self.start(host, unit)

    def stop(self, host: str, unit: str, run: int) -> None:
        """By a restart. Judged here and now: was it behind its gate, and alone?"""
        self.happened("stop", run, host, text=unit)
        others = self.down.setdefault(unit, set()) - {host}
        still = sorted(h for h in others if not self.ready(h, unit))
        self.down[unit] = {*still, host}
        nodes = {ETCD: self.plan.etcd_members, APISERVER: self.plan.masters}.get(unit, ())
        rest = [n.name for n in nodes if n.name != host]
        serving = [h for h in rest if self.ready(h, unit)]
        if unit == ETCD and rest and len([h for h in rest if self.healthy(h)]) < self.plan.quorum:
            self.wrong(f"etcd stopped on {host} while only {serving} would be left")
        if unit == APISERVER and serving != rest:
            self.wrong(f"the apiserver stopped on {host} while of {rest} only {serving} are ready")
        if unit == KUBELET and not self.api_answers(host):
            self.wrong(f"the kubelet stopped on {host}, where the API does not answer")
        if still and nodes:
            self.wrong(f"{unit} stopped on {host} while {still} are still down because of us")
        if busy := sorted(h for h in others if (h, unit) in self.restarting):
            self.wrong(f"{unit} stopped on {host} while the restart on {busy} is not over")
        self.restarting.add((host, unit))
        self.machines[host].service(unit).running = False

    def waits_for(self, unit: str) -> bool:
        """Whether its start returns only once it is ready."""
        return unit in NOTIFY

    # -- what is on a disk

    def put(self, host: str, kind: str, name: str) -> None:
        """Something recorded was put in place: the record must have it already."""
        if name.startswith(f"{STATE}/started/") or name in (INSTALLED, PAYLOADS):
            return
        if f"{kind} {name}" not in self.machines[host].installed():
            self.wrong(f"{host}: {kind} {name} is there and not in the record")

    def dropped(self, host: str, folder: str) -> None:
        """A versioned folder goes: nothing that is active or runs may lie in it."""
        machine = self.machines[host]
        for path, entry in machine.entries.items():
            if entry.kind == "l" and entry.target.startswith(f"{folder}/"):
                self.wrong(f"{host}: {folder} was removed, and {path} leads there")
        for unit, service in machine.services.items():
            binary = service.began_with.get(f"/usr/local/bin/{unit.removesuffix('.service')}", "")
            if service.running and binary.startswith(f"{folder}/"):
                self.wrong(f"{host}: {folder} was removed, and {unit} runs from it")
        for path in [p for p in machine.entries if p == folder or p.startswith(f"{folder}/")]:
            machine.remove(path)
            machine.manifest.pop(path, None)

    def removed(self, host: str, path: str) -> None:
        if path == "/var/lib/etcd" or path.startswith(("/var/lib/etcd/", "/var/lib/kubelet/")):
            self.wrong(f"{host}: {path} was removed")
