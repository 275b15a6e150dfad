"""Hosts that are empty, while the record names a member that cluster.yaml does not: its data may still be there."""

from __future__ import annotations

import dataclasses

from deploy.steps import ROLES
from kubewright.engine.preflight import Cluster, bootstrap
from kubewright.plan import record
from kubewright.plan.lineage import Lineage
from kubewright.plan.live import Live, live_of
from kubewright.plan.model import Plan
from kubewright.plan.peers import doors
from tests.golden.scenarios import scenario
from tests.unit.plan.live_hosts import BASE, installed

PLAN = scenario("lab").plan


def _whats(plan: Plan, made: Lineage | None) -> list[str]:
    hosts = {n.name: dataclasses.replace(BASE, machine_id=f"new-{n.name}") for n in plan.nodes}
    cluster = Cluster(plan=plan, roles=ROLES, doors=doors(plan, ROLES), observed=hosts, entries={})
    return [problem.what for problem in bootstrap.findings(cluster, Live(), made)]


def _made() -> Lineage:
    hosts = {n.name: installed(PLAN, n) for n in PLAN.nodes}
    return record.wanted(None, live_of(hosts), PLAN, hosts)


def _without(name: str) -> Plan:
    return dataclasses.replace(PLAN, nodes=tuple(n for n in PLAN.nodes if n.name != name))


def test_rebuilt_members_begin_no_new_cluster_when_the_third_was_taken_out_of_cluster_yaml() -> None:
    why = "it is empty, and would begin a new etcd where a cluster is already (its record names m1, which is not in cluster.yaml)"
    assert _whats(_without("m1"), _made()) == [why, why]


def test_a_worker_that_was_taken_out_is_nothing_that_holds_data() -> None:
    assert _whats(_without("w1"), _made()) == []


def test_without_a_record_fewer_hosts_are_a_smaller_new_cluster() -> None:
    assert _whats(_without("m1"), None) == []
