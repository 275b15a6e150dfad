"""The steps by which hosts join and leave: their order, their plans, and what is left after an interruption."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from kubewright.model.build import make_plan
from kubewright.model.cluster import Gone, Plan
from kubewright.model.lineage import Member
from kubewright.observe.live import Etcd, Live
from kubewright.plan import membership
from kubewright.plan.membership import JOINS, LEAVES, REMOVES, Change, Kind, Step, held, rows_of, steps
from kubewright.plan.transition import classify, joining
from kubewright.spec import ClusterSpec
from tests.support.live_hosts import api


def plan_of(*names: str) -> Plan:
    hosts = [
        {"name": name, "address": f"192.0.2.{(10 if name[0] == 'm' else 30) + int(name[1:])}",
         "roles": ["master" if name[0] == "m" else "worker"]}
        for name in names
    ]  # fmt: skip
    return make_plan(ClusterSpec.model_validate({"name": "prod", "hosts": hosts}, context={"folder": Path("/nonexistent")}))


def live_of(plan: Plan, *, learners: tuple[str, ...] = (), unstarted: tuple[str, ...] = (), nodes: Plan | None = None) -> Live:
    members = tuple(
        Member(name="" if n.name in unstarted else n.name, id=n.name, peer_urls=(membership.peer(n),)) for n in plan.etcd_members
    )
    return Live(api=api(nodes or plan), etcd=Etcd(cluster_id="1", members=members, learners=frozenset({*learners, *unstarted})))


def change(everything: Plan, target: Plan, *leaving: str, serving: Plan | None = None, **edit: Any) -> Change:
    gone = tuple(Gone(name=n.name, address=str(n.address)) for n in everything.nodes if n.name in leaving)
    there = frozenset(n.name for n in (serving or everything).nodes)
    return dataclasses.replace(Change(everything=everything, target=target, leaving=gone, begun=there, serving=there), **edit)


def members(step: Step) -> list[str]:
    assert step.plan is not None
    return [n.name for n in step.plan.etcd_members]


def kinds(found: tuple[Step, ...]) -> list[tuple[Kind, frozenset[str]]]:
    return [(step.kind, step.only) for step in found]


ONE, THREE, FIVE = plan_of("m1", "w1"), plan_of("m1", "m2", "m3", "w1"), plan_of("m1", "m2", "m3", "m4", "m5", "w1")


def test_masters_join_etcd_one_after_the_other_and_clients_are_told_once() -> None:
    found = steps(live_of(ONE), change(THREE, THREE, serving=ONE))
    assert kinds(found) == [(Kind.RUN, JOINS), (Kind.RUN, JOINS), (Kind.RUN, frozenset())]
    assert [members(step) for step in found] == [["m1", "m2"], ["m1", "m2", "m3"], ["m1", "m2", "m3"]]
    assert [step.plan and step.plan.joining for step in found] == [{"m2"}, {"m3"}, frozenset()]
    assert found[-1].plan == THREE


def test_no_step_is_refused_by_the_rules_of_apply() -> None:
    live, has = live_of(ONE), plan_of("m1", "w1")
    for step in steps(live, change(THREE, THREE, serving=ONE))[:-1]:
        assert step.plan is not None
        assert [d for d in classify(None, live_of(has), step.plan, frozenset()) if d.refused] == []
        assert joining(live_of(has), step.plan) == step.plan.joining
        has = dataclasses.replace(step.plan, nodes=step.plan.etcd_members)
    assert [d for d in classify(None, live, THREE, frozenset()) if d.refused] != []


def test_a_learner_that_was_added_already_goes_first() -> None:
    before = dataclasses.replace(THREE, nodes=tuple(n for n in THREE.nodes if n.name != "m2"))
    found = steps(live_of(before, unstarted=("m3",)), change(THREE, THREE))
    assert [step.plan and set(step.plan.joining) for step in found] == [{"m3"}, {"m2"}, set()]


def test_a_learner_that_has_started_still_gets_its_vote() -> None:
    found = steps(live_of(THREE, learners=("m3",)), change(THREE, THREE))
    assert [(step.kind, step.plan and set(step.plan.joining)) for step in found] == [(Kind.RUN, {"m3"}), (Kind.RUN, set())]


def test_when_everything_is_there_only_the_whole_run_is_left() -> None:
    assert kinds(steps(live_of(THREE), change(THREE, THREE))) == [(Kind.RUN, frozenset())]


def test_masters_that_serve_leave_after_their_clients_and_their_pods() -> None:
    found = steps(live_of(THREE), change(THREE, ONE, "m2", "m3"))
    assert kinds(found) == [
        (Kind.RUN, frozenset()), (Kind.DRAIN, frozenset()), (Kind.RUN, LEAVES), (Kind.WIPE, frozenset()),
        (Kind.RUN, frozenset()), (Kind.FORGET, frozenset()),
    ]  # fmt: skip
    turned, drained, left, wiped, last, forgotten = found
    assert turned.plan and turned.plan.leaving == {"m2", "m3"} and members(turned) == ["m1", "m2", "m3"]
    assert turned.plan.etcd_endpoints == ("https://192.0.2.11:2379",)
    assert [n.name for n in turned.plan.serving_masters] == ["m1"]
    assert drained.hosts == wiped.hosts == forgotten.hosts == ("m2", "m3")
    for step in (left, last):
        assert step.plan and [g.name for g in step.plan.gone] == ["m2", "m3"] and step.plan.nodes == ONE.nodes


def test_the_first_listed_master_leaves_like_any_other() -> None:
    target = plan_of("m2", "w1")
    found = steps(live_of(THREE), change(THREE, target, "m1", "m3"))
    assert found[0].plan and [n.name for n in found[0].plan.serving_members] == ["m2"]
    assert found[-2].plan and found[-2].plan.first_master.name == "m2"


def test_a_host_that_has_left_etcd_never_comes_back_to_it() -> None:
    two = dataclasses.replace(THREE, nodes=tuple(n for n in THREE.nodes if n.name != "m3"))
    found = steps(live_of(two, nodes=THREE), change(THREE, plan_of("m1", "m2", "w1"), "m3"))
    assert kinds(found)[1:] == [(Kind.WIPE, frozenset()), (Kind.RUN, frozenset()), (Kind.FORGET, frozenset())]
    assert all("m3" not in [n.name for n in step.plan.nodes] for step in found if step.plan)


def test_a_dead_member_leaves_before_the_new_one_joins_and_is_not_asked() -> None:
    everything, target = plan_of("m1", "m2", "m3", "m4", "w1"), plan_of("m1", "m2", "m4", "w1")
    asked = change(everything, target, "m3", serving=plan_of("m1", "m2", "w1"), dead=frozenset({"m3"}))
    found = steps(live_of(THREE), asked)
    assert kinds(found) == [(Kind.RUN, REMOVES), (Kind.RUN, JOINS), (Kind.RUN, frozenset()), (Kind.FORGET, frozenset())]
    assert [members(step) for step in found[:3]] == [["m1", "m2"], ["m1", "m2", "m4"], ["m1", "m2", "m4"]]
    assert all("m3" not in [n.name for n in step.plan.nodes] for step in found if step.plan)


def test_a_host_that_serves_is_replaced_after_the_new_one_joined() -> None:
    everything, target = plan_of("m1", "m2", "m3", "m4", "w1"), plan_of("m1", "m2", "m4", "w1")
    found = steps(live_of(THREE), change(everything, target, "m3", serving=THREE))
    assert [members(step) for step in found if step.plan] == [
        ["m1", "m2", "m3", "m4"], ["m1", "m2", "m3", "m4"], ["m1", "m2", "m4"], ["m1", "m2", "m4"],
    ]  # fmt: skip


def test_the_only_master_can_be_replaced() -> None:
    found = steps(live_of(ONE), change(plan_of("m1", "m2", "w1"), plan_of("m2", "w1"), "m1", serving=ONE))
    assert [members(step) for step in found if step.plan] == [["m1", "m2"], ["m1", "m2"], ["m1", "m2"], ["m2"], ["m2"]]
    assert found[2].plan and found[2].plan.etcd_endpoints == ("https://192.0.2.12:2379",)


def test_clients_turn_to_new_masters_only_once_one_of_them_serves() -> None:
    everything, target = plan_of("m1", "m2", "w1"), plan_of("m2", "w1")
    found = steps(live_of(ONE), change(everything, target, "m1", serving=ONE))
    assert found[1].plan and not found[1].only and not found[1].plan.leaving
    assert [n.name for n in found[1].plan.serving_masters] == ["m1", "m2"]
    assert found[2].plan and found[2].plan.leaving == {"m1"}
    resumed = steps(live_of(everything), change(everything, target, "m1"))
    assert resumed[0].plan and resumed[0].plan.leaving == {"m1"}


def test_a_rebuilt_host_leaves_and_joins_under_its_name() -> None:
    found = steps(live_of(THREE), change(THREE, THREE, rebuilt=frozenset({"m2"})))
    assert kinds(found) == [(Kind.RUN, REMOVES), (Kind.FORGET, frozenset()), (Kind.RUN, JOINS), (Kind.RUN, frozenset())]
    assert members(found[0]) == ["m1", "m3"] and found[1].hosts == ("m2",)
    assert found[2].plan and found[2].plan.joining == {"m2"} and not found[2].plan.gone
    assert found[3].plan == THREE


def test_a_worker_leaves_without_a_turn_of_clients_and_a_new_one_is_there_before() -> None:
    everything = plan_of("m1", "w1", "w2")
    found = steps(live_of(everything), change(everything, ONE, "w2"))
    assert kinds(found) == [
        (Kind.DRAIN, frozenset()), (Kind.WIPE, frozenset()), (Kind.RUN, frozenset()), (Kind.FORGET, frozenset())
    ]  # fmt: skip
    replaced = steps(live_of(ONE), change(everything, plan_of("m1", "w2"), "w1", serving=ONE))
    assert [step.kind for step in replaced] == [Kind.RUN, Kind.DRAIN, Kind.WIPE, Kind.RUN, Kind.FORGET]


def test_three_become_five_and_five_become_three() -> None:
    assert [members(s)[-1] for s in steps(live_of(THREE), change(FIVE, FIVE, serving=THREE)) if s.only] == ["m4", "m5"]
    assert [s.hosts for s in steps(live_of(FIVE), change(FIVE, THREE, "m4", "m5")) if s.kind is Kind.WIPE] == [("m4", "m5")]


@pytest.mark.parametrize(("wiped", "commands"), [(True, 0), (False, 5)])
def test_what_a_removed_master_had_is_named_with_the_commands_that_end_it(wiped: bool, commands: int) -> None:
    lines = held(frozenset({"master", "etcd", "node"}), wiped=wiped)
    assert sum(line.startswith("kubewright ") for line in lines) == commands


def test_a_worker_had_no_key_of_the_cluster() -> None:
    lines = " ".join(held(frozenset({"node"}), wiped=False))
    assert "rotate-ca kubernetes" in lines and "service-account" not in lines and "encryption" not in lines


def test_only_the_rows_of_those_hosts_are_removed() -> None:
    rows = ("ca/etcd", "operator", "kubelet-client/m1", "kubelet-client/m2", "etcd-peer/m2", "ca/etcd/next", "service-account")
    assert rows_of(rows, ("m2", "etcd", "next")) == ("kubelet-client/m2", "etcd-peer/m2")


def test_a_host_that_is_no_member_any_more_and_runs_pods_is_drained_before_it_is_emptied() -> None:
    two = dataclasses.replace(THREE, nodes=tuple(n for n in THREE.nodes if n.name != "m3"))
    found = steps(live_of(two, nodes=THREE), change(THREE, plan_of("m1", "m2", "w1"), "m3"))
    assert [(step.kind, step.hosts) for step in found[:2]] == [(Kind.DRAIN, ("m3",)), (Kind.WIPE, ("m3",))]


def test_a_member_that_only_lost_its_data_keeps_its_node_and_its_pods() -> None:
    found = steps(live_of(THREE), change(THREE, THREE, rebuilt=frozenset({"m2"}), kept=frozenset({"m2"})))
    assert found[0].plan and [(g.name, g.keeps_node) for g in found[0].plan.gone] == [("m2", True)]
    lost = steps(live_of(THREE), change(THREE, THREE, rebuilt=frozenset({"m2"})))
    assert lost[0].plan and [(g.name, g.keeps_node) for g in lost[0].plan.gone] == [("m2", False)]
