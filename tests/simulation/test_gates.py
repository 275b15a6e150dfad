"""Decisions of etcd's scripts about a member that is unhealthy itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy.waves import ROLES
from kubewright.plan.desired import Unit
from pki.store import Store
from tests.simulation import probes
from tests.simulation.clusters import Cluster
from tests.simulation.fleet import APISERVER, ETCD
from tests.simulation.world import World

THREE = Cluster(masters=3, workers=0)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(1, THREE, tmp_path, installed=True)


def _unit(world: World, name: str, host: str = "m1") -> Unit:
    context = world.cluster.context(host, {host: world.fleet.observe(host, world.cluster.units)}, _store(world))
    return next(unit for role in ROLES if name in role.units for unit in role.desired(context).units if unit.name == name)


def _store(world: World) -> Store:
    return Store(world.inventory)


def test_a_member_without_a_quorum_still_serves_reads_and_is_not_stopped(world: World) -> None:
    gate = _unit(world, ETCD).gate
    assert probes.asks(world.fleet, "m1", gate)
    world.fleet.sick = {"m2", "m3"}
    assert not world.fleet.healthy("m1"), "its /health says 503"
    assert not probes.asks(world.fleet, "m1", gate)


def test_a_stopped_member_is_started_in_any_state_of_the_others(world: World) -> None:
    world.fleet.sick = {"m2", "m3"}
    world.fleet.machines["m1"].service(ETCD).running = False
    assert probes.asks(world.fleet, "m1", _unit(world, ETCD).gate)


@pytest.mark.parametrize(("sick", "leads"), [(set(), "m2"), ({"m2"}, "m3"), ({"m3"}, "m2")])
def test_the_leader_transfers_leadership_to_a_healthy_member(world: World, sick: set[str], leads: str) -> None:
    world.fleet.leader, world.fleet.sick = "m1", sick
    assert probes.transfer(world.fleet, "m1", _unit(world, ETCD).before_stop)
    assert world.fleet.leads() == leads


def test_an_apiserver_that_is_not_ready_may_be_stopped(world: World) -> None:
    world.fleet.sick = {"m2", "m3"}
    assert not world.fleet.api_ready("m1")
    assert probes.asks(world.fleet, "m1", _unit(world, APISERVER).gate)
