"""An older copy of an inventory reverts nothing on the hosts; a left-out host is brought up to date."""

from __future__ import annotations

import datetime as dt
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from kubewright.errors import HostsUnfit
from pki import encryption, rotation
from pki.authorities import ETCD, FRONT_PROXY, SERVICE_ACCOUNT
from pki.decisions import Policy
from pki.stages import Stage
from pki.store import INDEX, PRIVATE, Store
from tests.simulation.clusters import Cluster
from tests.simulation.world import World

NOW = dt.datetime.now(dt.UTC)
POLICY = Policy(algorithm="ecdsa-p256", ca_days=3650, leaf_days=365, renew_before_days=90)


def _next_key(store: Store) -> Stage:
    return encryption.advance(store, encryption.providers(store.entries).stage, NOW).stage


def _next(name: str, store: Store) -> Stage:
    def begin(to: Store) -> None:
        rotation.begin(to, name, f"{name.removeprefix('ca/')}-ca", POLICY, NOW)

    rotation.advance(store, name, rotation.stage(store.entries, name), begin, NOW)
    return rotation.stage(store.entries, name)


ROTATIONS = pytest.mark.parametrize(
    "advance",
    [_next_key, partial(_next, ETCD.name), partial(_next, FRONT_PROXY.name), partial(_next, SERVICE_ACCOUNT)],
    ids=["encryption", "etcd", "front-proxy", "service-account"],
)
Advance = Callable[[Store], Stage]


@pytest.fixture
def world(tmp_path: Path) -> World:
    (tmp_path / "inventory").mkdir()
    return World(1, Cluster(masters=1, workers=1), tmp_path / "inventory", installed=True)


def _rotate(world: World, advance: Advance) -> None:
    stage = None
    while stage is not Stage.SETTLED:
        stage = advance(Store(world.inventory))
        apply = world.apply()
        assert apply.succeeded, apply.run.failure


def _copy(of: Path, to: Path) -> None:
    (to / PRIVATE).parent.mkdir(parents=True, exist_ok=True)
    for name in (INDEX, PRIVATE):
        shutil.copy(of / name, to / name)


@ROTATIONS
def test_a_store_from_before_a_rotation_changes_nothing_on_any_host(world: World, advance: Advance, tmp_path: Path) -> None:
    _copy(world.inventory, tmp_path / "backup")
    _rotate(world, advance)
    _copy(world.inventory, tmp_path / "newer")
    _copy(tmp_path / "backup", world.inventory)
    before = {name: machine.sums() for name, machine in world.fleet.machines.items()}
    apply = world.apply()
    assert isinstance(apply.run.failure, HostsUnfit)
    assert "this store is older than the cluster" in str(apply.run.failure)
    assert {name: machine.sums() for name, machine in world.fleet.machines.items()} == before
    _copy(tmp_path / "newer", world.inventory)
    world.finish()
    world.judged()


@ROTATIONS
def test_a_master_left_out_of_a_whole_rotation_is_brought_up_to_date(world: World, advance: Advance) -> None:
    away = world.fleet.machines["m1"].copy()
    _rotate(world, advance)
    now = world.fleet.machines["m1"].sums()
    assert now != away.sums()
    world.fleet.machines["m1"] = away
    world.finish()
    world.judged()
    kept = [path for path in now if path.startswith(("/etc/kubernetes/", "/etc/etcd/"))]
    assert {path: world.fleet.machines["m1"].sums()[path] for path in kept} == {path: now[path] for path in kept}
