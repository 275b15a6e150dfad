"""Lost work in the cluster is done again by a host that can, and then no changes remain."""

from __future__ import annotations

from pathlib import Path

import pytest

from kubewright.observe import facts
from tests.simulation.clusters import Cluster
from tests.simulation.evidence import Evidence
from tests.simulation.world import World

CLUSTER = Cluster(masters=3, workers=1)
WORKING = {"etcd_users", "rbac", "nodes", "coredns", "lineage"}


def _world(folder: Path) -> World:
    return World(2, CLUSTER, folder, installed=True)


def _acted(world: World) -> dict[str, str]:
    """By role, the host that acted last."""
    return {role: host for apply in world.applies for role, host in apply.run.changed}


def test_each_lost_thing_is_done_again_by_its_role_alone(tmp_path: Path) -> None:
    world = _world(tmp_path)
    whole = world.fleet.evidence.copy()
    number = len(whole.etcd) + len(whole.objects) + len(whole.nodes)
    lost = [world.fleet.evidence.copy().lose(n) for n in range(number)]
    assert len(set(lost)) == number > 15
    for n in range(number):
        world.applies.clear()
        world.fleet.evidence.lose(n)
        world.finish()
        roles = set(_acted(world))
        assert roles <= WORKING, lost[n]
        # Without its binding admin.conf sees no nodes, so their labels are set again too.
        assert len(roles) == 1 or (roles == {"rbac", "nodes"} and lost[n].startswith("ClusterRoleBinding kubeadm:")), lost[n]
        assert world.fleet.evidence == whole
    world.judged()


def test_a_recreated_cluster_gets_everything_again(tmp_path: Path) -> None:
    world = _world(tmp_path)
    world.fleet.evidence = Evidence()
    world.finish()
    assert _acted(world) == dict.fromkeys(WORKING, "m1")
    world.judged()


def test_a_first_host_whose_etcd_does_not_answer_leaves_it_to_the_next(tmp_path: Path) -> None:
    world = _world(tmp_path)
    world.fleet.sick = {"m1"}
    del world.fleet.evidence.etcd[facts.NETWORK]
    assert world.apply().succeeded
    assert _acted(world) == {"etcd_users": "m2"}
    world.fleet.sick = set()
    world.finish()
    world.judged()


@pytest.mark.parametrize("host", ["m1", "m2"])
def test_a_master_whose_apiserver_never_gets_ready_leaves_it_to_the_next(tmp_path: Path, host: str) -> None:
    world = _world(tmp_path)
    world.fleet.machines[host].service("kube-apiserver.service").ready_at = float("inf")
    world.fleet.evidence.objects.clear()
    run = world.apply()
    assert run.succeeded, run.run.failure
    assert _acted(world)["rbac"] == ("m2" if host == "m1" else "m1")
