"""Lost work in the cluster is done again by a host that can, and then no changes remain."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from kubewright.observe import facts
from kubewright.plan.cluster_tasks import removal
from tests.simulation.clusters import Cluster
from tests.simulation.evidence import FORMER, PEOPLE, Evidence, removals
from tests.simulation.faults import calm
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
    number = len(whole.etcd) + len(whole.ours) + len(whole.nodes)
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
        assert world.fleet.evidence.said == whole.said
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


@pytest.mark.parametrize("killed_after", [*range(6, 28, 2), None])
def test_objects_that_no_task_wants_go_and_those_of_other_people_stay(tmp_path: Path, killed_after: int | None) -> None:
    world = _world(tmp_path)
    world.fleet.evidence.objects |= {former.ref: former for former in FORMER}
    world.change(replace(CLUSTER, left=frozenset({"coredns"})))
    world.apply(replace(calm(world.random), killed_after=killed_after))
    world.finish()
    world.judged()
    assert [str(ref) for ref in world.fleet.evidence.ours] == [
        "ClusterRoleBinding kubeadm:cluster-admins",
        "ConfigMap kube-system/kubewright",
    ]
    assert {found.ref for found in PEOPLE} < set(world.fleet.evidence.objects)


def test_hosts_that_are_left_out_take_no_object_with_them(tmp_path: Path) -> None:
    world = _world(tmp_path)
    before = world.fleet.evidence.ours
    for without in ({"m1"}, {"w1"}, {"m2", "w1"}, {"m3"}):
        run = world.apply(without=frozenset(without))
        assert run.succeeded, run.run.failure
        assert world.fleet.evidence.ours == before, without


def test_a_new_object_of_the_same_name_stays(tmp_path: Path) -> None:
    """It was made between the look and the removal: its UID is another one."""
    world = _world(tmp_path)
    former = FORMER[0]
    evidence = world.fleet.evidence
    evidence.objects[former.ref] = replace(former, uid="another", owned=False)
    (content,) = (removal([former], "https://127.0.0.1:6443").content.decode(),)
    ((path, uid),) = removals(content)
    world.fleet.pruned("m1", path, uid)
    assert former.ref in evidence.objects
    world.fleet.pruned("m1", path, "another")
    assert "kubewright did not apply it" in world.fleet.log.broken[0]
