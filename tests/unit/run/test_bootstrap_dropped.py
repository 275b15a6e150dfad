"""Hosts that are all empty, while there is a record of a cluster: its data may still be somewhere."""

from __future__ import annotations

import dataclasses

from deploy.waves import ROLES
from kubewright.errors import Problem
from kubewright.model.cluster import Plan
from kubewright.model.lineage import Lineage
from kubewright.observe.live import Live, live_of
from kubewright.plan import record
from kubewright.plan.peers import peer_ports
from kubewright.run.preflight import Cluster, bootstrap
from tests.support.live_hosts import BASE, installed
from tests.support.scenarios import scenario

PLAN = scenario("lab").plan


def _found(plan: Plan, made: Lineage | None, *, disposable: bool = False) -> list[Problem]:
    hosts = {n.name: dataclasses.replace(BASE, machine_id=f"new-{n.name}") for n in plan.nodes}
    cluster = Cluster(plan=plan, roles=ROLES, peer_ports=peer_ports(plan, ROLES), observed=hosts, entries={})
    return list(bootstrap.findings(cluster, Live(), made, disposable=disposable))


def _whats(plan: Plan, made: Lineage | None) -> list[str]:
    """The same of hosts of a lab."""
    return [problem.what for problem in _found(plan, made, disposable=True)]


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


def test_with_all_hosts_empty_a_recorded_cluster_is_given_up_by_reset_only() -> None:
    """All disks may be unmounted, or cluster.yaml may lead to other machines."""
    made = _made()
    found = _found(PLAN, made)
    what = (
        f"it is empty, and would begin a new etcd where a cluster is already (cluster.json records one, made at {made.created})"
    )
    assert [(problem.where, problem.what) for problem in found] == [(name, what) for name in ("m1", "m2", "m3")]
    assert all("kubewright reset --no-snapshot" in problem.todo for problem in found)


def test_a_lab_that_was_made_again_gets_a_new_cluster() -> None:
    assert _found(PLAN, _made(), disposable=True) == []


def test_where_no_cluster_was_recorded_all_empty_hosts_begin_one() -> None:
    assert _found(PLAN, None) == []
