"""Simulated fleets go to another release and back, with kills, faults and drains that do not end: versions always fit together.

Twelve worlds, the largest of 20 nodes: `--seeds 0:300` plays more.
"""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest

from kubewright.errors import Failed, Refused
from kubewright.plan.move import Move
from kubewright.releases import Release, release_for
from tests.simulation.clusters import Cluster
from tests.simulation.fleet import APISERVER, ETCD, KUBELET
from tests.simulation.world import World

SEEDS = 12
PATHS = (("1.36.3", "1.37.1"), ("1.35.4", "1.36.3"), ("1.36.3", "1.37.0"), ("1.37.0", "1.37.1"))


def _cluster(seed: int, release: str) -> Cluster:
    shape = random.Random(f"shape {seed}")  # noqa: S311
    return Cluster(masters=shape.choice((1, 3, 3)), workers=17 if seed % 12 == 7 else shape.randint(1, 4), kubernetes=release)


def _moved(seed: int, folder: Path) -> World:
    """Forwards; in a third of the worlds back from the middle, in another third back from the end."""
    old, new = map(release_for, PATHS[seed % len(PATHS)])
    before = _cluster(seed, old.kubernetes)
    world = World(seed, before, folder, installed=True)
    after, chance = replace(before, kubernetes=new.kubernetes), world.random
    up = Move(verb="upgrade", target=new, max_unavailable=chance.choice((1, 1, 2, 4)))
    world.change(after, up)
    way = seed // len(PATHS) % 3
    _stuck(world)
    world.disturbed(4)
    if way == 0:
        world.finish()
        _ends(world, new)
        return world
    if way == 1:
        world.finish()
        _ends(world, new)
    world.change(before, replace(up, verb="rollback", target=old))
    world.disturbed(4)
    if chance.random() < 0.4:  # somebody wants the upgrade after all
        world.change(after, up)
        world.disturbed(2)
        world.finish()
        _ends(world, new)
        return world
    world.finish()
    _ends(world, old)
    return world


def _stuck(world: World) -> None:
    """In some worlds the pods of a node do not leave it: the run stops there, and the node takes pods."""
    if world.random.random() < 0.5:
        return
    name = world.random.choice(sorted(n.name for n in world.fleet.plan.kubelets))
    world.fleet.stuck = {name}
    refused = world.apply()
    alone = len(world.fleet.plan.kubelets) == 1
    failure = refused.run.failure
    world.expect(alone or (isinstance(failure, Failed) and f"{name}: its node can't be drained" in str(failure)), f"{failure}")
    world.expect(not world.fleet.cordoned, f"still cordoned: {sorted(world.fleet.cordoned)}")
    world.fleet.stuck = set()


def _ends(world: World, release: Release) -> None:
    world.expect(not world.fleet.cordoned, f"still cordoned: {sorted(world.fleet.cordoned)}")
    world.expect(not world.fleet.downgrade, "etcd's downgrade has not ended")
    plan = world.fleet.plan
    for unit, nodes, version in (
        (ETCD, plan.etcd_members, release.etcd),
        (APISERVER, plan.masters, release.kubernetes),
        (KUBELET, plan.kubelets, release.kubernetes),
    ):
        found = {n.name: world.fleet.version(n.name, unit) for n in nodes}
        world.expect(set(found.values()) == {version}, f"{unit} runs {found}, not {version}")


def test_every_world_ends_where_it_was_told_to(world_seed: int, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    alone = request.config.getoption("--seed", default=None) is not None
    _moved(world_seed, tmp_path).judged(print if alone else (lambda _line: None))


def test_a_skipped_minor_is_refused_and_nothing_is_done(tmp_path: Path) -> None:
    before = Cluster(masters=1, workers=1, kubernetes="1.35.4")
    world = World(0, before, tmp_path, installed=True)
    world.change(replace(before, kubernetes="1.37.1"), Move(verb="upgrade", target=release_for("1.37.1")))
    acts = len(world.fleet.log.of("act", "push"))
    failure = world.apply().run.failure
    assert isinstance(failure, Refused) and "1.37.1 skips a minor release" in str(failure)
    assert len(world.fleet.log.of("act", "push")) == acts


def test_apply_does_nothing_in_the_middle_of_an_upgrade(tmp_path: Path) -> None:
    before = Cluster(masters=3, workers=1, kubernetes="1.36.3")
    after = replace(before, kubernetes="1.37.1")
    world = World(0, before, tmp_path, installed=True)
    world.change(after, Move(verb="upgrade", target=release_for("1.37.1")))
    world.fleet.stuck = {"m2"}
    world.apply()
    acts = len(world.fleet.log.of("act", "push"))
    for cluster in (before, after):
        world.change(cluster)
        failure = world.apply().run.failure
        assert isinstance(failure, Refused) and "kubewright upgrade --to 1.37.1" in str(failure), failure
    assert len(world.fleet.log.of("act", "push")) == acts
    world.judged()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "world_seed" in metafunc.fixturenames:
        one, given = (metafunc.config.getoption(option, default=None) for option in ("--seed", "--seeds"))
        first, count = (one, 1) if one is not None else map(int, (given or f"0:{SEEDS}").split(":"))
        metafunc.parametrize("world_seed", range(first, first + count), ids=lambda seed: f"seed {seed}")
