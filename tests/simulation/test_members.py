"""Hosts join, leave and are replaced, with kills and faults at any moment: the same command completes, and nothing is left."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest

from kubewright.model.certificates import hosts_of
from kubewright.spec.edit import without_hosts
from kubewright.verbs.members import Wanted
from pki.store import Store
from tests.simulation import invariants
from tests.simulation.clusters import Cluster
from tests.simulation.faults import Weather, calm, rough
from tests.simulation.joining import Joining
from tests.simulation.world import World, _fresh

SEEDS = 30


class Changing(World):
    """A cluster whose hosts change from `cluster` to `target`; `dead` ones are destroyed first."""

    def __init__(self, seed: int, cluster: Cluster, target: Cluster, wanted: Wanted, folder: Path) -> None:
        super().__init__(seed, cluster, folder, installed=True)
        self.target, self.wanted = target, wanted
        names = tuple(dict.fromkeys((*cluster.host_names, *target.host_names)))
        everything = replace(cluster, names_of=names)
        fresh = _fresh(everything)
        for name in names:
            self.fleet.machines.setdefault(name, fresh[name])
        if wanted.dead:
            for name in wanted.leaving:
                del self.fleet.machines[name]
                self.fleet.lost.add(name)
        for name in wanted.replaced:
            self.rebuild(name)
        self.change(everything)

    def command(self, weather: Weather) -> Joining:
        self._runs += 1
        one = Joining(self.fleet, self.cluster, self.inventory, weather, self._runs, self.wanted, self._emptied)
        before = invariants.authorities(self.inventory)
        self.fleet.clock.run_until(one.over)
        for judge in (invariants.ending,):
            self._note(self._runs, *judge(one))
        one.close()
        self._note(self._runs, *invariants.kept(before, self.inventory))
        return one

    def _emptied(self, name: str) -> None:
        self.fleet.machines[name] = _fresh(self.cluster)[name]

    def changed(self) -> None:
        for _ in range(self.random.randint(0, 3)):
            self.command(rough(self.random))
            if self.random.random() < 0.4:  # somebody does not know that it was not done
                self.apply(rough(self.random), frozenset(self.fleet.lost))
        last = self.command(calm(self.random))
        self.expect(last.succeeded, f"the command did not complete: {last.failure or last.run.failure or last.ended_badly}")
        if not last.succeeded:
            return
        left = set(self.wanted.leaving)
        for name in left & self.fleet.machines.keys():
            entries = self.fleet.machines.pop(name).entries
            self.expect(not entries, f"{name} was not emptied: {sorted(entries)[:5]}")
        members = {n.name: True for n in self.target.plan.etcd_members}
        self.expect(self.fleet.roster == members, f"etcd's members are {self.fleet.roster}")
        nodes = {n.name for n in self.target.plan.kubelets}
        answers = [self.fleet.api(n.name) for n in self.target.plan.masters]  # kubelets that run have registered by then
        self.expect(all(answers), "an API does not answer")
        self.expect(self.fleet.registered == nodes, f"the nodes are {sorted(self.fleet.registered)}")
        rows = set(Store(self.inventory).entries)
        self.expect(not left & {h for row in ("kubelet-client", "etcd-peer") for h in hosts_of(rows, row)}, "rows are left")
        text = (self.inventory / "cluster.yaml").read_bytes()
        self.expect(without_hosts(text, left) == text, "cluster.yaml still names them")
        self.change(self.target)
        self.idle()


def _shape(seed: int) -> tuple[Cluster, Cluster, Wanted]:
    chance = random.Random(f"members {seed}")  # noqa: S311
    workers = chance.randint(1, 2)
    tail = tuple(f"w{i}" for i in range(1, workers + 1))

    def of(*names: str) -> Cluster:
        return Cluster(masters=3, workers=workers, names_of=names)

    def first(masters: int) -> Cluster:
        return Cluster(masters=masters, workers=workers)

    match seed % 7:
        case 0:  # more masters
            few = chance.choice((1, 3))
            return first(few), first(few + 2), Wanted(verb="node add")
        case 1:  # fewer; the first-listed may be among them
            gone = tuple(sorted(chance.sample(("m1", "m2", "m3"), 2)))
            (kept,) = {"m1", "m2", "m3"} - set(gone)
            return first(3), of(kept, *tail), Wanted(verb="node remove", leaving=gone)
        case 2:  # a dead one is replaced
            lost = chance.choice(("m1", "m2", "m3"))
            names = [name for name in ("m1", "m2", "m3") if name != lost]
            wanted = Wanted(verb="node replace", leaving=(lost,), joining=("m4",), dead=True)
            return first(3), of(*names, *tail, "m4"), wanted
        case 3:  # one that serves is replaced
            old = chance.choice(("m1", "m2", "m3"))
            names = [name for name in ("m1", "m2", "m3") if name != old]
            return first(3), of(*names, *tail, "m4"), Wanted(verb="node replace", leaving=(old,), joining=("m4",))
        case 4:  # the only master is replaced
            return first(1), of(*tail, "m2"), Wanted(verb="node replace", leaving=("m1",), joining=("m2",))
        case 5:  # one was rebuilt, and lost everything
            return first(3), first(3), Wanted(verb="node replace", replaced=(chance.choice(("m1", "m2", "m3", "w1")),))
        case _:  # a worker leaves, dead or alive
            dead = chance.random() < 0.5
            kept_names = ("m1", *tail[:-1]) if workers > 1 else ("m1", "w9")
            wanted = Wanted(verb="node remove", leaving=(tail[-1],), joining=(), dead=dead)
            return first(1), of(*kept_names), wanted


def test_hosts_join_and_leave_whatever_happens(member_seed: int, tmp_path: Path) -> None:
    world = Changing(member_seed, *_shape(member_seed), tmp_path)
    world.changed()
    world.judged()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "member_seed" in metafunc.fixturenames:
        one, given = (metafunc.config.getoption(option, default=None) for option in ("--seed", "--seeds"))
        first, count = (one, 1) if one is not None else map(int, (given or f"0:{SEEDS}").split(":"))
        metafunc.parametrize("member_seed", range(first, first + min(count, SEEDS)))
