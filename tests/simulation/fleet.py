"""The hosts together: serving units, health, the time, and violations of the invariants."""

from __future__ import annotations

import json
import math
import random
import re
import zlib
from dataclasses import dataclass, field, replace

from kubewright.model.cluster import Plan
from kubewright.model.lineage import Member
from kubewright.model.places import STATE
from kubewright.observe import facts
from kubewright.observe.live import Api, Etcd, LiveNode, PodSubnet
from kubewright.observe.objects import Listed
from kubewright.observe.observed import ETCD_MARK, INSTALLED, PAYLOADS, Observed
from tests.simulation.clock import Clock
from tests.simulation.evidence import Evidence
from tests.simulation.log import Happened, Log
from tests.simulation.machine import NOTIFY, Machine

JOINS = "/etc/etcd/joins"
ETCD, APISERVER, KUBELET = "etcd.service", "kube-apiserver.service", "kubelet.service"
FLANNEL, POD_ROUTES = "flanneld.service", "kubewright-pod-routes.service"
LOAD_BALANCER = "kube-apiserver-load-balancer.service"
BROKEN, UNREADY = b"--bogus", b"--never-ready"
"""A flag that no component knows: the process exits at once. And one with which it runs and never serves."""

PRESSED, SEES_AFTER = b"nodefs.available<99%", 12.0
"""With this flag a kubelet sees pressure, that many seconds after it is ready."""


def _line(version: str) -> str:
    """`1.37` of `1.37.1`."""
    return version.rpartition(".")[0]


def _minor(line: str) -> int:
    return int(line.partition(".")[2])


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
    """/run/kubewright.lock: by host, the process that holds it."""
    held: dict[str, tuple[int, str]] = field(default_factory=dict)
    """/run/kubewright.run.lock: by host, the run and its line."""
    leader: str = ""
    down: dict[str, set[str]] = field(default_factory=dict)
    """By unit, the hosts on which a run stopped it and where it is not ready yet."""

    registered: set[str] = field(default_factory=set)
    """Nodes that the API knows."""
    cordoned: dict[str, str] = field(default_factory=dict)
    """By node, by whom."""
    stuck: set[str] = field(default_factory=set)
    """Nodes whose pods do not leave."""
    most: int | None = None
    """How many nodes may be cordoned at once; None where nobody says."""
    storage: str = ""
    """The minor release whose format etcd's data has."""
    downgrade: str = ""
    """The target of etcd's downgrade while one is enabled."""
    rewritten_at: float = 0.0
    clusters: int = 0
    """How often an etcd cluster was begun."""
    complete: bool = False
    """Whether an apply has completed: from then on no member may start without its data."""
    restarting: set[tuple[str, str]] = field(default_factory=set)
    """(Host, unit): the act that stopped it has not ended."""
    evidence: Evidence = field(default_factory=Evidence)
    roster: dict[str, bool] = field(default_factory=dict)
    """etcd's list of members: whether each votes. Empty: the plan's, since no cluster was begun."""
    lost: set[str] = field(default_factory=set)
    """Hosts that are destroyed."""
    drained: set[str] = field(default_factory=set)

    @property
    def voters(self) -> list[str]:
        return [name for name, votes in self.roster.items() if votes] or [n.name for n in self.plan.etcd_members]

    @property
    def quorum(self) -> int:
        return len(self.voters) // 2 + 1

    def happened(self, what: str, run: int, host: str = "", role: str = "", text: str = "") -> None:
        self.log.events.append(Happened(at=self.clock.now, what=what, run=run, host=host, role=role, text=text))

    def wrong(self, text: str) -> None:
        self.log.broken.append(f"{self.clock.now:.1f}: {text}")

    def at(self, address: str) -> str:
        """The host with that address."""
        return next(n.name for n in self.plan.nodes if str(n.address) == address)

    # -- health

    def up(self, host: str, unit: str) -> bool:
        """Whether its process runs and has had enough time to start."""
        service = self.machines[host].services.get(unit)
        return service is not None and service.running and service.ready_at <= self.clock.now

    def _members_up(self) -> list[str]:
        return [name for name in self.voters if name in self.machines and self.up(name, ETCD) and name not in self.sick]

    def healthy(self, host: str) -> bool:
        """etcd's /health: this member runs, and so does a quorum."""
        up = self._members_up()
        return host in up and len(up) >= self.quorum

    def follows(self, host: str) -> bool:
        """Its /health for serializable reads: a learner has a leader, too."""
        member = host in self.roster or not self.roster
        return member and self.up(host, ETCD) and host not in self.sick and len(self._members_up()) >= self.quorum

    def api_ready(self, host: str) -> bool:
        return self.up(host, APISERVER) and any(map(self.healthy, self._endpoints(host)))

    def _endpoints(self, host: str) -> list[str]:
        """The members that its apiserver knows."""
        flag = re.search(rb"--etcd-servers=(\S+)", self.machines[host].service(APISERVER).read)
        known = re.findall(rb"https://([\d.]+):2379", flag[1]) if flag else []
        return [name for address in known if (name := self.at(address.decode())) in self.machines]

    def api_answers(self, host: str) -> bool:
        """Whether that host reaches the API."""
        if self.plan.node(host).is_master:
            return self.api_ready(host)
        return self.up(host, LOAD_BALANCER) and any(self.api_ready(n.name) for n in self.plan.masters if n.name in self.machines)

    def ready(self, host: str, unit: str) -> bool:
        """Whether the unit's own readiness probe would succeed."""
        if unit == ETCD:
            if self.follows(host):
                self.machines[host].write(ETCD_MARK, b"")
                self.machines[host].remove(JOINS)
            return self.follows(host)
        if unit == APISERVER:
            return self.api_ready(host)
        if unit == KUBELET:
            return self.up(host, unit) and self.api_answers(host) and not self.pressed(host)
        if unit == FLANNEL:
            return self.up(host, unit) and any(map(self.healthy, self.machines))
        return self.up(host, unit)

    def observe(self, host: str, units: frozenset[str]) -> Observed:
        """The output of the observing command on that host."""
        seen = self.machines[host].observe(units, self.clock.now)
        return replace(seen, api=self.api(host), etcd=self.etcd(host), facts=self.facts(host), objects=self.objects(host))

    def objects(self, host: str) -> tuple[Listed, ...]:
        """The API's lists, as far as that host gets an answer."""
        asks = self.plan.node(host).is_master and self.api_answers(host)
        return tuple(self.evidence.objects.values()) if asks else ()

    def facts(self, host: str) -> dict[str, str]:
        """The facts of the cluster, if that host gets an answer."""
        found: dict[str, str] = {}
        if self.plan.node(host).is_master and self.api_answers(host):
            found |= facts.read(self.objects(host), (), (), None)
            answer = self.api(host)
            found |= {facts.NODES: "known"} if answer else {}
            found |= {facts.of_node(node.name): "registered" for node in (answer.nodes if answer else ())}
            if self.evidence.administered:
                found |= self.evidence.nodes
        if self.healthy(host):
            found |= {facts.ETCD: "answers", **self.evidence.etcd, **dict(facts.members(self.etcd(host)))}
        return found

    # -- answers of the API and etcd to `live_script`

    def api(self, host: str) -> Api | None:
        """On a master that has the administrator's certificate and kubectl."""
        machine = self.machines[host]
        asks = "/etc/kubernetes/admin.conf" in machine.contents and machine.executable("/usr/local/bin/kubectl")
        if not asks or not self.api_ready(host):
            return None
        registered = [
            n for n in self.plan.kubelets if n.name in self.registered or (n.name in self.machines and self.up(n.name, KUBELET))
        ]
        self.registered |= {n.name for n in registered}
        nodes = (
            LiveNode(
                name=n.name,
                machine_id=self.machines[n.name].base.machine_id if n.name in self.machines else "lost",
                kubernetes=(self.version(n.name) if n.name in self.machines else "") or self.plan.release.kubernetes,
                ready=n.name in self.machines and self.up(n.name, KUBELET),
                schedulable=True,
                address=str(n.address),
                held=n.name in self.cordoned,
            )
            for n in registered
        )
        return Api(
            nodes=tuple(nodes), uid="sim", created="2026-01-01T00:00:00Z", services=str(self.plan.services),
            dns=str(self.plan.dns_address), domain=self.plan.domain,
        )  # fmt: skip

    def etcd(self, host: str) -> Etcd | None:
        machine = self.machines[host]
        asks = "/etc/etcd/pki/root.key" in machine.contents and machine.executable("/usr/local/bin/etcdctl")
        if not asks or not self.healthy(host):
            return None
        names = list(self.roster) or [n.name for n in self.plan.etcd_members]
        ids = {name: f"{zlib.crc32(name.encode()):x}" for name in names}
        members = (
            Member(
                name=name if self._started(name) else "",
                id=ids[name],
                peer_urls=(f"https://{self.plan.node(name).address}:2380",),
            )
            for name in names
        )
        learners = frozenset(ids[name] for name, votes in self.roster.items() if not votes)
        leases = (
            PodSubnet(
                address=str(n.address), subnet=f"10.244.{int(n.address) % 256}.0/24", backend=self.evidence.backends[n.name]
            )
            for n in self.plan.kubelets
            if n.name in self.evidence.backends
        )
        return Etcd(
            cluster_id="1", members=tuple(sorted(members)), learners=learners, pods=str(self.plan.pods),
            backend=self.evidence.backend, pod_prefix_length=str(self.plan.pod_prefix_length), leases=tuple(leases),
        )  # fmt: skip

    def _started(self, name: str) -> bool:
        return name in self.lost or self.machines[name].etcd > 0 or self.roster.get(name, True)

    def change_members(self, script: str) -> bool:
        """The scripts of the roles `members` and `votes`: whether they succeed."""
        urls = re.findall(r"https://([\d.]+):2380", script)
        for name in dict.fromkeys(map(self.at, urls)):
            others = [voter for voter in self.voters if voter != name]
            well = [voter for voter in others if self.healthy(voter)]
            if script.startswith("# Removes") and name in self.roster:
                if self.roster[name] and len(well) < len(others) // 2 + 1:
                    return False
                del self.roster[name]
                if name in self.machines:
                    self.machines[name].service(ETCD).running = False
            elif script.startswith("# Adds") and name not in self.roster:
                if False in self.roster.values():
                    self.wrong(f"{name} was added while another member learns")
                self.roster[name] = False
            elif script.startswith("# Gives") and not self.roster[name]:
                if not self.follows(name) or len(well) + 1 < (len(others) + 1) // 2 + 1:
                    return False
                self.roster[name] = True
            if len(self._members_up()) < self.quorum:
                self.wrong(f"etcd lost its quorum when its members changed ({name})")
        return True

    def pressed(self, host: str) -> bool:
        """Whether its kubelet sees pressure by now."""
        service = self.machines[host].service(KUBELET)
        return self.up(host, KUBELET) and PRESSED in service.read and self.clock.now > service.ready_at + SEES_AFTER

    def nodes(self, host: str) -> str:
        """The output of kubectl about nodes and their conditions."""
        api = self.api(host)
        if api is None:
            return ""
        lines = [f"{n.name} DiskPressure={self.pressed(n.name)} Ready={n.ready}" for n in api.nodes]
        return "\n".join([*lines, ".", ""])

    def leads(self) -> str:
        up = self._members_up()
        if self.leader not in up:
            self.leader = up[0] if len(up) >= self.quorum else ""
        return self.leader

    # -- drains, as kubewright/run/drain.py asks a master for them

    def drains(self, master: str, script: str) -> str:
        """The output of kubectl on that host; empty where the API does not answer."""
        if "kubectl" not in script or not self.api_ready(master):
            return ""
        if "get nodes" in script:
            return "".join(
                f"{n.name}\tv{self.version(n.name)}\t{self.up(n.name, KUBELET)}\t{'true' if n.name in self.cordoned else ''}\t"
                f"{self.cordoned.get(n.name, '')}\n"
                for n in self.plan.kubelets
                if n.name in self.registered
            )
        if found := re.search(r"cordoned-by=(\S+) && .* cordon (\w+);", script):
            self.cordoned[found[2]] = found[1]
            if self.most is not None and len(self.cordoned) > self.most:
                self.wrong(f"{sorted(self.cordoned)} are cordoned at once, and {self.most} may be")
            return "done\n"
        if found := re.search(r" drain (\w+) ", script):
            if found[1] in self.stuck:
                return f"error when evicting pods of {found[1]}: global timeout reached\nnot drained\n"
            self.drained.add(found[1])
            return f"{found[1]}\ndrained\n"
        if found := re.search(r"uncordon (\w+) ", script):
            self.cordoned.pop(found[1], None)
            return "done\n"
        return ""

    # -- etcd's versions, as kubewright/run/etcd_version.py asks a member for them

    def etcdctl(self, member: str, script: str) -> str:
        """The output of etcdctl on that host; empty where etcd does not answer."""
        if not self.healthy(member):
            return ""
        if found := re.search(r"downgrade enable ([\d.]+)", script):
            if found[1] == self.format:
                return "Error: etcdserver: invalid downgrade target version\n"
            self.downgrade, self.rewritten_at = found[1], self.clock.now + self.random.uniform(0, 5)
            return "done\n"
        if "downgrade cancel" in script:
            self.downgrade = ""
            return "done\n"
        info = {"enabled": True, "targetVersion": f"{self.downgrade}.0"} if self.downgrade else {}
        rows = [
            {"version": self.version(name, ETCD), "storageVersion": f"{self.format}.0", "downgradeInfo": info}
            for name in self._members_up()
        ]
        return json.dumps([{"Status": row} for row in rows])

    @property
    def format(self) -> str:
        """The format of etcd's data now. It is an earlier one soon after a downgrade was enabled."""
        if self.downgrade and self.clock.now >= self.rewritten_at:
            self.storage = self.downgrade
        return self.storage

    def _versions(self, host: str, unit: str) -> None:
        """A process starts: its version must go with those of the others."""
        own = _line(self.version(host, unit))
        if unit == ETCD and own:
            if self.format and own < self.format:
                self.wrong(f"etcd {own} started on {host} with data of {self.format}")
            members = {_line(self.version(n.name, ETCD)) for n in self.plan.etcd_members if n.name in self.machines}
            if members == {own}:
                self.storage, self.downgrade = own, ""
        elif unit in (KUBELET, APISERVER) and own:
            servers = [line for n in self.plan.masters if (line := _line(self.version(n.name, APISERVER)))]
            nodes = [line for n in self.plan.kubelets if (line := _line(self.version(n.name)))]
            if servers and nodes and max(nodes) > min(servers):
                self.wrong(f"{unit} {own} started on {host}: kubelets run {max(nodes)}, and an apiserver runs {min(servers)}")
            if servers and max(servers) > min(servers, default=own) and _minor(max(servers)) - _minor(min(servers)) > 1:
                self.wrong(f"apiservers run {sorted(set(servers))}")

    def version(self, host: str, unit: str = KUBELET) -> str:
        """The version of the binary that the unit was started with on that host; empty for one that is lost."""
        if host not in self.machines:
            return ""
        binary = unit.removesuffix(".service")
        began = self.machines[host].service(unit).began_with.get(f"/usr/local/bin/{binary}", "")
        return began.split("/")[-2].rpartition("-")[0] if began else ""

    # -- actions of runs on units

    def start(self, host: str, unit: str) -> bool:
        """Whether the process started: its binary exists and knows its flags."""
        machine, service = self.machines[host], self.machines[host].service(unit)
        binary = unit.removesuffix(".service")
        found = unit in (LOAD_BALANCER, POD_ROUTES) or machine.executable(f"/usr/local/bin/{binary}")
        service.began_with = machine.sums()
        service.running = bool(service.read) and found and BROKEN not in service.read
        if unit == ETCD and service.running:
            service.running = self._has_data(machine)
        service.crashed = not service.running
        if service.running:
            self._versions(host, unit)
        if unit == FLANNEL and service.running and self.evidence.backend:
            self.evidence.backends[host] = self.evidence.backend
            self.connected()
        service.ready_at = math.inf if UNREADY in service.read else self.clock.now + self.random.uniform(0.5, 8)
        return service.running

    def connected(self) -> None:
        """While flanneld's backends differ, every host has routes to the pods of the others."""
        there = {name: backend for name, backend in self.evidence.backends.items() if name in self.machines}
        if len(set(there.values())) > 1:
            lacking = sorted(name for name in there if not self.machines[name].service(POD_ROUTES).running)
            if lacking:
                self.wrong(f"the backends are {there}, and {lacking} have no routes of ours")

    def _has_data(self, machine: Machine) -> bool:
        """etcd's ExecStartPre: without data a member that has served does not start, and another begins or joins a cluster."""
        if self.roster and machine.name not in self.roster:
            return False  # it was removed, or never added
        if not machine.etcd:
            if JOINS in machine.entries:
                machine.etcd = max(self.clusters, 1)
                return True
            if ETCD_MARK in machine.entries:
                return False
            there = {m.etcd for m in self.machines.values() if m.etcd}
            if self.clusters and self.complete:
                self.wrong(f"{machine.name}: etcd began without data where a cluster is")
            self.clusters = max(self.clusters, 1)
            machine.etcd = max(there, default=self.clusters)
            self.roster = self.roster or {n.name: True for n in self.plan.etcd_members}
        return True

    def reload(self, host: str, unit: str) -> bool:
        """Whether a process was running to read its files again."""
        service = self.machines[host].service(unit)
        service.began_with = self.machines[host].sums()
        return service.running

    def revive(self, host: str) -> None:
        """systemd's Restart=always."""
        machine = self.machines[host]
        for unit in [u for u, s in machine.services.items() if s.crashed and not machine.gives_up]:
            self.start(host, unit)

    def stop(self, host: str, unit: str, run: int) -> None:
        """Stop it for a restart. The invariants are checked now: did its gate pass, and is it the only one?"""
        self.happened("stop", run, host, text=unit)
        others = self.down.setdefault(unit, set()) - {host}
        still = sorted(h for h in others if not self.ready(h, unit))
        self.down[unit] = {*still, host}
        masters = [n.name for n in self.plan.masters if n.name in self.machines and self.machines[n.name].service(APISERVER).read]
        nodes = {ETCD: self.voters, APISERVER: masters}.get(unit, [])
        rest = [name for name in nodes if name != host and name not in self.lost]
        serving = [h for h in rest if self.ready(h, unit)]
        if unit == ETCD and rest and len([h for h in rest if self.healthy(h)]) < self.quorum:
            self.wrong(f"etcd stopped on {host} while only {serving} would be left")
        if unit == APISERVER and serving != rest:
            self.wrong(f"the apiserver stopped on {host} while of {rest} only {serving} are ready")
        if unit == KUBELET and not self.api_answers(host):
            self.wrong(f"the kubelet stopped on {host}, where the API does not answer")
        if unit == KUBELET and (pressed := sorted(h for h in others if self.pressed(h))):
            self.wrong(f"the kubelet stopped on {host} while {pressed} have pressure because of us")
        if still and nodes:
            self.wrong(f"{unit} stopped on {host} while {still} are still down because of us")
        busy = sorted(h for h in others if (h, unit) in self.restarting)
        if len(busy) >= (1 if unit in (ETCD, APISERVER) else self.most or 1):
            self.wrong(f"{unit} stopped on {host} while the restart on {busy} is not over")
        self.restarting.add((host, unit))
        self.machines[host].service(unit).running = False

    def waits_for(self, unit: str) -> bool:
        """Whether its start returns only once it is ready."""
        return unit in NOTIFY

    # -- content of disks

    def put(self, host: str, kind: str, name: str) -> None:
        """Something was put in place: the record must name it already."""
        if name.startswith(f"{STATE}/started/") or name in (INSTALLED, PAYLOADS):
            return
        if f"{kind} {name}" not in self.machines[host].installed():
            self.wrong(f"{host}: {kind} {name} is there and not in the record")

    def dropped(self, host: str, folder: str) -> None:
        """A versioned folder is removed: it must have no active or running program."""
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

    def delete_nodes(self, names: list[str]) -> None:
        """The Node objects of hosts that have left: none may still run pods."""
        for name in names:
            if name in self.machines and self.up(name, KUBELET):
                self.wrong(f"the node {name} was deleted, and its kubelet runs")
            self.registered.discard(name)
            self.evidence.nodes = {
                about: value for about, value in self.evidence.nodes.items() if not about.endswith(f" of {name}")
            }

    def pruned(self, host: str, path: str, uid: str) -> None:
        """An object is deleted through that host: it must be kubewright's."""
        found = self.evidence.remove(path, uid)
        if found is not None and not found.owned:
            self.wrong(f"{host}: {found.ref} was removed, and kubewright did not apply it")

    def removed(self, host: str, path: str) -> None:
        if path == "/var/lib/etcd" or path.startswith(("/var/lib/etcd/", "/var/lib/kubelet/")):
            self.wrong(f"{host}: {path} was removed")
