"""The scenarios of a cluster, by seed. Each ends with an undisturbed run that finishes the remaining work."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from kubewright.errors import HostsUnfit, Refused
from kubewright.model import lineage
from kubewright.model.places import HOME, STATE
from kubewright.plan.move import Move
from kubewright.releases import DEFAULT
from kubewright.run import lineage_copy
from tests.simulation.clusters import Cluster
from tests.simulation.evidence import FORMER
from tests.simulation.faults import calm
from tests.simulation.fleet import ETCD, FLANNEL, POD_ROUTES
from tests.simulation.log import Log
from tests.simulation.world import World

FLAGS = {
    "etcd": ("etcd", "snapshot-count", "5000"),
    "apiserver": ("kube-apiserver", "audit-log-maxage", "60"),
    "kubelet": ("kubelet", "v", "4"),
}
UNITS = {"etcd": ETCD, "apiserver": "kube-apiserver.service", "kubelet": "kubelet.service"}
KUBE2SKY = "kube2sky.service"


def _cluster(seed: int, *, three: bool = False) -> Cluster:
    shape = random.Random(f"shape {seed}")  # noqa: S311
    return Cluster(masters=3 if three else shape.choice((1, 3)), workers=shape.randint(0, 4))


def fresh(seed: int, folder: Path) -> World:
    """Empty hosts; in some worlds no certificate is issued yet either."""
    world = World(seed, _cluster(seed), folder, installed=False, issued=seed % 5 != 0)
    world.disturbed(4)
    world.finish()
    return world


def nothing(seed: int, folder: Path) -> World:
    world = World(seed, _cluster(seed), folder, installed=True)
    world.idle()
    return world


def drift(seed: int, folder: Path) -> World:
    """Changes by hand on hosts."""
    world = World(seed, _cluster(seed), folder, installed=True)
    for _ in range(world.random.randint(1, 3)):
        _meddle(world)
    world.disturbed(2)
    world.finish()
    return world


def _meddle(world: World) -> None:
    chance = world.random
    machine = world.fleet.machines[chance.choice(sorted(world.fleet.machines))]
    recorded = [line.split(" ", 1) for line in sorted(machine.installed())]
    # A lineage record that can't be read is refused until it is removed: damaged_record.
    files = [p for kind, p in recorded if kind == "file" and p in machine.contents and p != lineage.PATH]
    match chance.randrange(5):
        case 0:
            path = chance.choice(files)
            machine.write(path, b"edited\n", mode=machine.entries[path].mode)
            machine.reload()
        case 1:
            service = machine.service(chance.choice([p for kind, p in recorded if kind == "unit"]))
            service.running = False
        case 2:
            machine.remove(chance.choice([p for kind, p in recorded if kind == "link"]))
        case 3:
            world.fleet.evidence.lose(chance.randrange(1000))
        case _:
            path = chance.choice(files)
            machine.entries[path] = replace(machine.entries[path], mode=0o777)


def rolling(seed: int, folder: Path) -> World:
    """A flag changes, or the certificates' names: members restart one after the other."""
    world = World(seed, _cluster(seed), folder, installed=True)
    role = world.random.choice((*FLAGS, "names"))
    names = ("api.example.org",) if role == "names" else ()
    world.change(replace(world.cluster, flags=(FLAGS[role],) if role in FLAGS else (), names=names))
    world.disturbed(3)
    world.finish()
    return world


def member_down(seed: int, folder: Path) -> World:
    """One etcd member does not answer: the others stay untouched."""
    world = World(seed, _cluster(seed, three=True), folder, installed=True)
    world.fleet.sick = {world.random.choice(("m1", "m2", "m3"))}
    world.change(replace(world.cluster, flags=(FLAGS["etcd"],)))
    refused = world.apply()
    world.expect(refused.run.failure is not None, "an etcd change with a member down was not refused")
    stopped = {e.host for e in world.fleet.log.of("stop") if e.text == ETCD}
    world.expect(not stopped - world.fleet.sick, f"etcd was restarted on {sorted(stopped)} with a member down")
    world.fleet.sick = set()
    world.finish()
    return world


def broken_flag(seed: int, folder: Path) -> World:
    """A flag with which no process starts: it reaches one host, the others stay; then the spec is corrected."""
    world = World(seed, _cluster(seed, three=True), folder, installed=True)
    role, flag = world.random.choice(sorted(FLAGS)), world.random.choice(("bogus", "never-ready"))
    before = world.cluster
    world.change(replace(before, flags=((FLAGS[role][0], flag, "1"),)))
    world.expect(world.apply().run.failure is not None, f"--{flag} of {role} went through")
    stopped = {e.host for e in world.fleet.log.of("stop") if e.text == UNITS[role]}
    world.expect(len(stopped) == 1, f"{UNITS[role]} was stopped on {sorted(stopped)} with --{flag}")
    world.apply()
    stopped = {e.host for e in world.fleet.log.of("stop") if e.text == UNITS[role]}
    world.expect(len(stopped) == 1, f"{UNITS[role]} was stopped on {sorted(stopped)} with --{flag}, applied again")
    # Reverted, or corrected: both differ from the broken process's record.
    world.change(before if world.random.random() < 0.5 else replace(before, flags=(FLAGS[role],)))
    world.finish()
    return world


def pressure(seed: int, folder: Path) -> World:
    """A kubelet setting with which each node would evict its pods: it reaches one node, the others stay; then the spec is
    corrected."""
    world = World(seed, _cluster(seed, three=True), folder, installed=True)
    before = world.cluster
    world.change(replace(before, flags=(("kubelet", "eviction-hard", "nodefs.available<99%"),)))
    for again in ("", ", applied again"):
        world.expect(world.apply().run.failure is not None, f"kubelets that evict their pods went through{again}")
        stopped = {e.host for e in world.fleet.log.of("stop") if e.text == UNITS["kubelet"]}
        world.expect(len(stopped) == 1, f"the kubelet was stopped on {sorted(stopped)}{again}")
    world.change(before)
    world.finish()
    return world


def less(seed: int, folder: Path) -> World:
    """A role is not in the plan any more, and others want less: their files and objects go, and nothing else."""
    world = World(seed, _cluster(seed), folder, installed=True)
    left = world.random.choice(("kube_proxy", "scheduler", "coredns", "nodes"))
    data = {path for m in world.fleet.machines.values() for path in m.entries if path.startswith("/var/lib/")}
    world.fleet.evidence.objects |= {former.ref: former for former in FORMER}
    world.change(replace(world.cluster, left=frozenset({left})))
    world.disturbed(3)
    world.finish()
    kept = {path for m in world.fleet.machines.values() for path in m.entries}
    world.expect(not {p for p in data - kept if not p.startswith(f"{STATE}/started/")}, "more was removed than the role's")
    return world


OLDER = "1.37.0"
"""Another release than the default."""
FORGOTTEN = f"{HOME}/kubelet/1.36.3-0badcafe"
"""Payloads of an older release."""


def upgraded(seed: int, folder: Path) -> World:
    """An upgrade to a patch release: payloads of the release before it stay on the hosts, older ones are removed."""
    new = _cluster(seed)
    world = World(seed, replace(new, kubernetes=OLDER), folder, installed=True)
    machines = world.fleet.machines.values()
    before = {m.name: {p for p in m.manifest if "/kubelet/" in p or "/kube-apiserver/" in p} for m in machines}
    for machine in machines:
        machine.write(f"{FORGOTTEN}/kubelet", b"")
        machine.manifest[f"{FORGOTTEN}/kubelet"] = ("0badcafe", 0)
    world.change(new, Move(verb="upgrade", target=DEFAULT))
    world.disturbed(3)
    world.finish()
    world.expect(not world.fleet.cordoned, f"still cordoned: {sorted(world.fleet.cordoned)}")
    for machine in machines:
        world.expect(FORGOTTEN not in machine.entries, f"{machine.name} still has {FORGOTTEN}")
        world.expect(before[machine.name] <= machine.entries.keys(), f"{machine.name} lost the release that it had")
        world.expect(before[machine.name] <= machine.manifest.keys(), f"{machine.name} lost its manifest")
    return world


def two_runs(seed: int, folder: Path) -> World:
    """Two people at once: on a fresh fleet or with a change to make."""
    world = World(seed, _cluster(seed), folder, installed=seed % 2 == 0)
    if seed % 2 == 0:
        world.change(replace(world.cluster, flags=(FLAGS[world.random.choice(sorted(FLAGS))],)))
    world.together()
    world.finish()
    return world


def killed_holder(seed: int, folder: Path) -> World:
    """The run with the lock is killed: the next one gets the lock."""
    world = World(seed, _cluster(seed), folder, installed=False)
    world.apply(replace(calm(world.random), killed_after=world.random.randint(20, 340)))
    world.expect(not world.fleet.held, f"the lock of a dead run is held on {sorted(world.fleet.held)}")
    world.finish()
    return world


def lost_disk(seed: int, folder: Path) -> World:
    """Members without their data: none starts a new cluster, with or without the others; once the data is back, a run
    finishes."""
    world = World(seed, _cluster(seed, three=True), folder, installed=True)
    before = {name: machine.copy() for name, machine in world.fleet.machines.items()}
    lost = world.random.sample(("m1", "m2", "m3"), world.random.choice((1, 2, 2)))
    rest = frozenset({"m1", "m2", "m3"} - set(lost))
    rebuilt = world.random.random() < 0.7
    for name in lost:
        if rebuilt:
            world.rebuild(name)
        else:
            machine = world.fleet.machines[name]
            machine.etcd, machine.service(ETCD).running = 0, False
    out = rest if len(lost) == 2 and world.random.random() < 0.6 else frozenset()
    acts = len(world.fleet.log.of("act", "push"))
    refused = world.apply(without=out)
    world.expect(refused.run.failure is not None, f"{lost} without data were applied to, without {sorted(out)}")
    world.expect(len(world.fleet.log.of("act", "push")) == acts, f"something was done with {lost} without data")
    for name in lost:
        world.fleet.machines[name] = before[name]
    world.finish()
    return world


def total_loss(seed: int, folder: Path) -> World:
    """Every host is empty: a reset abandons the recorded cluster, and then a new one is made."""
    world = World(seed, _cluster(seed), folder, installed=True)
    world.apply()
    for name in list(world.fleet.machines):
        world.rebuild(name)
    world.fleet.complete, world.fleet.clusters = False, 0
    world.fleet.registered.clear()
    acts = len(world.fleet.log.of("act", "push"))
    refused = world.apply()
    world.expect(isinstance(refused.run.failure, HostsUnfit), f"a recorded cluster was replaced: {refused.run.failure}")
    world.expect(len(world.fleet.log.of("act", "push")) == acts, "something was done before it was refused")
    lineage_copy.remove(world.inventory)
    world.finish()
    return world


def damaged_record(seed: int, folder: Path) -> World:
    """A lineage record that is cut off: the run names it and does nothing. Once it is removed, the next run writes it again."""
    world = World(seed, _cluster(seed), folder, installed=True)
    machines = world.fleet.machines
    name = world.random.choice(sorted(n for n, m in machines.items() if lineage.PATH in m.contents))
    whole = machines[name].contents[lineage.PATH]
    machines[name].write(lineage.PATH, whole[: world.random.randrange(1, len(whole) // 2)], mode=0o600)
    acts = len(world.fleet.log.of("act", "push"))
    refused = world.apply()
    failure = refused.run.failure
    world.expect(isinstance(failure, HostsUnfit) and lineage.PATH in str(failure), f"it is not named: {failure}")
    world.expect(len(world.fleet.log.of("act", "push")) == acts, "something was done before it was named")
    machines[name].remove(lineage.PATH)
    world.finish()
    world.expect(machines[name].contents.get(lineage.PATH) == whole, "the record was not written again")
    return world


EDITS: tuple[dict[str, tuple[tuple[str, ...], ...] | str], ...] = (
    {"network": (("services", "10.112.0.0/16"),)},
    {"network": (("pods", "10.200.0.0/16"), ("backend", "host-gw"))},
    {"network": (("domain", "example.org"),)},
    {"kubernetes": "1.36.3"},
    {"kubernetes": "1.37.0"},
)


def edit(seed: int, folder: Path) -> World:
    """An edit that a live cluster does not allow, even in the middle of a change: nothing is done, then the edit is
    reverted."""
    world = World(seed, _cluster(seed, three=True), folder, installed=True)
    before = world.cluster
    if world.random.random() < 0.5:
        before = replace(before, flags=(FLAGS[world.random.choice(sorted(FLAGS))],))
        world.change(before)
        world.disturbed(1)
    world.change(replace(before, **world.random.choice(EDITS)))  # type: ignore[arg-type]
    acts = len(world.fleet.log.of("act", "push"))
    refused = world.apply()
    world.expect(isinstance(refused.run.failure, Refused), f"it was not refused: {refused.run.failure}")
    world.expect(len(world.fleet.log.of("act", "push")) == acts, "something was done before it was refused")
    world.change(before)
    world.finish()
    return world


def backend(seed: int, folder: Path) -> World:
    """flannel's backend changes, with kills; in some worlds a host restarts half way, or the change is put back."""
    world = World(seed, _cluster(seed), folder, installed=True)
    before, chance = world.cluster, world.random
    world.change(replace(before, network=(("backend", "host-gw"),)))
    world.disturbed(3)
    if chance.random() < 0.5:
        name = chance.choice(sorted(n.name for n in before.plan.kubelets))
        world.fleet.start(name, FLANNEL)
        world.fleet.machines[name].service(FLANNEL).ready_at = 0.0
    if chance.random() < 0.5:
        world.change(before)
        members = [world.fleet.machines[node.name].service(ETCD) for node in before.plan.etcd_members]
        if chance.random() < 0.5:  # as after a reboot: etcd does not answer yet when the run begins
            for member in members:
                member.ready_at = world.fleet.clock.now + chance.uniform(1, 20)
        world.disturbed(2)
        for member in members:
            member.ready_at = 0.0
    world.finish()
    wanted, found = world.cluster.plan.backend, world.fleet.evidence.backends
    world.expect(set(found.values()) == {wanted}, f"the backends are {found}, not {wanted}")
    left = sorted(name for name, machine in world.fleet.machines.items() if machine.service(POD_ROUTES).running)
    world.expect(not left, f"{left} still have routes of ours")
    return world


def provider(seed: int, folder: Path) -> World:
    """Another DNS provider, and back: kube2sky serves before CoreDNS changes, and goes after CoreDNS has changed back."""
    world = World(seed, _cluster(seed), folder, installed=True)
    before, fleet, log = world.cluster, world.fleet, world.fleet.log
    masters = {node.name for node in fleet.plan.masters}
    ready = fleet.ready

    def seen(host: str, unit: str) -> bool:
        if unit == KUBE2SKY and ready(host, unit):
            serving.setdefault(host, len(log.events))
        return ready(host, unit)

    serving: dict[str, int] = {}
    fleet.ready = seen  # type: ignore[method-assign]
    world.change(replace(before, network=(("dns_provider", "skydns"),)))
    world.disturbed(2)
    world.finish()
    changed = _applied(log, "coredns-skydns")
    world.expect(masters == {h for h, at in serving.items() if at <= changed}, f"CoreDNS changed while only {serving} served")
    there = len(log.events)
    world.change(before)
    world.disturbed(2)
    world.finish()
    removed = min((n for n, e in enumerate(log.events) if n >= there and (e.what, e.text) == ("remove", KUBE2SKY)), default=-1)
    world.expect(there <= _applied(log, "coredns", there) < removed, "kube2sky went before CoreDNS changed back, or stayed")
    kept = {path for m in fleet.machines.values() for path in m.contents if re.search("/etc/(coredns|kube2sky)/.", path)}
    world.expect(not kept, f"files of skydns are left: {sorted(kept)}")
    return world


def _applied(log: Log, config: str, since: int = 0) -> int:
    """The number of the first event since `since` that applied CoreDNS with that ConfigMap."""
    name = f'"name": "{config}"'
    return next(
        n for n, e in enumerate(log.events) if n >= since and e.what == "task" and '"ConfigMap"' in e.text and name in e.text
    )


Scenario = Callable[[int, Path], World]
SCENARIOS: tuple[Scenario, ...] = (
    fresh, rolling, drift, broken_flag, less, rolling, member_down, two_runs, killed_holder, fresh, drift, nothing, lost_disk,
    total_loss, lost_disk,
    pressure, edit, upgraded, damaged_record, backend, provider,
)  # fmt: skip


def play(seed: int, folder: Path) -> World:
    """The scenario of that seed."""
    return SCENARIOS[seed % len(SCENARIOS)](seed, folder)
