"""An etcd member without data begins no new cluster where one is, or was; where none was, nothing is in the way."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from deploy.waves import ROLES
from kubewright.errors import Problem
from kubewright.model.build import make_plan
from kubewright.model.cluster import Plan
from kubewright.model.lineage import Lineage, Member
from kubewright.observe.live import Etcd, live_of
from kubewright.observe.observed import Observed
from kubewright.plan import record
from kubewright.plan.peers import peer_ports
from kubewright.run.preflight import Cluster, bootstrap
from kubewright.spec import ClusterSpec
from pki.store import Entry
from tests.support.live_hosts import BASE, etcd_answer, installed, machine_id
from tests.support.scenarios import scenario

ISSUED = scenario("lab").store.entries
"""The index of the store; its etcd members are m1, m2 and m3, too."""


def _plan(masters: int = 3, without: frozenset[str] = frozenset()) -> Plan:
    hosts = [{"name": f"m{i}", "address": f"10.90.0.{10 + i}", "roles": ["master"]} for i in range(1, masters + 1)]
    text = {"name": "prod", "hosts": [*hosts, {"name": "w1", "address": "10.90.0.21", "roles": ["worker"]}]}
    plan = make_plan(ClusterSpec.model_validate(text, context={"folder": Path("/nonexistent")}))
    return dataclasses.replace(plan, absent=without)


PLAN = _plan()
SERVED = {"etcd.service": {"/usr/local/bin/etcd": "0"}}


def _empty(name: str) -> Observed:
    return dataclasses.replace(BASE, machine_id=machine_id(PLAN.node(name)))


def _member(name: str, **changed: object) -> Observed:
    """A host whose member has served, and whose etcd does not answer."""
    host = installed(PLAN, PLAN.node(name))
    host = dataclasses.replace(host, etcd=None, api=None, etcd_data=True, etcd_marked=True, started_with=SERVED)
    return dataclasses.replace(host, **changed)  # type: ignore[arg-type]


def _worker(**changed: object) -> Observed:
    return dataclasses.replace(installed(PLAN, PLAN.node("w1")), **changed)  # type: ignore[arg-type]


def _found(
    *hosts: tuple[str, Observed],
    plan: Plan = PLAN,
    entries: dict[str, Entry] | None = None,
    recorded: Lineage | None = None,
) -> list[Problem]:
    observed = dict(hosts)
    cluster = Cluster(plan=plan, roles=ROLES, peer_ports=peer_ports(plan, ROLES), observed=observed, entries=entries or {})
    return list(bootstrap.findings(cluster, live_of(observed), recorded))


def made() -> Lineage:
    hosts = {n.name: installed(PLAN, n) for n in PLAN.nodes}
    return record.wanted(None, live_of(hosts), PLAN, hosts)


def _answers(joining: str = "", gone: str = "") -> Etcd:
    """etcd's answer; `joining` was added and has not started, `gone` was removed."""
    answer = etcd_answer(PLAN)
    members = (m for m in answer.members if m.name != gone)
    return dataclasses.replace(
        answer, members=tuple(Member(name="" if m.name == joining else m.name, id=m.id, peer_urls=m.peer_urls) for m in members)
    )


# -- what is in the way


@pytest.mark.parametrize("seen_by", [{"etcd_marked": True}, {"started_with": SERVED}])
@pytest.mark.parametrize("masters", [1, 3])
def test_a_member_that_lost_its_data_is_named_alone_or_among_others(seen_by: dict[str, object], masters: int) -> None:
    """Whether its mark says that it served, or, for a cluster of an earlier kubewright, what it was started with."""
    lost = _member("m1", **{"etcd_data": False, "etcd_marked": False, "started_with": {}, **seen_by})
    others = [(name, _member(name)) for name in ("m2", "m3")[: masters - 1]]
    (problem,) = _found(("m1", lost), *others, plan=_plan(masters))
    assert problem.where == "m1"
    assert problem.what == "it is a member of etcd, and its data is gone (/var/lib/etcd/member has no write-ahead log)"
    assert "kubewright node replace m" in problem.todo


def _refused(evidence: str, found: list[Problem], *names: str) -> None:
    """Each of `names`, and no other, is refused for that evidence."""
    what = f"it is empty, and would begin a new etcd where a cluster is already ({evidence})"
    assert [(p.where, p.what) for p in found] == [(name, what) for name in names]
    assert all("docs/runbooks/etcd.md" in p.todo for p in found)


def test_an_empty_host_is_refused_where_etcd_answers() -> None:
    found = _found(("m1", _member("m1", etcd=_answers())), ("m2", _member("m2")), ("m3", _empty("m3")))
    _refused("etcd answers, with the members m1, m2, m3", found, "m3")


def test_an_empty_host_whose_old_member_was_removed_is_refused_until_it_is_added() -> None:
    found = _found(("m1", _member("m1", etcd=_answers(gone="m3"))), ("m2", _member("m2")), ("m3", _empty("m3")))
    _refused("etcd answers, with the members m1, m2", found, "m3")


def test_empty_hosts_are_refused_where_a_member_has_data_and_does_not_answer() -> None:
    found = _found(("m1", _member("m1")), ("m2", _empty("m2")), ("m3", _empty("m3")))
    _refused("m1 has etcd's data or had it", found, "m2", "m3")


def test_empty_hosts_are_refused_where_a_member_had_data() -> None:
    found = _found(("m1", _member("m1", etcd_data=False)), ("m2", _empty("m2")), ("m3", _empty("m3")))
    lost, *rest = found
    assert lost.where == "m1" and "its data is gone" in lost.what
    _refused("m1 has etcd's data or had it", rest, "m2", "m3")


@pytest.mark.parametrize("unit", ["kubelet.service", "kube-apiserver.service"])
def test_empty_masters_are_refused_where_a_host_has_run_components_of_the_cluster(unit: str) -> None:
    served = _worker(started_with={unit: {"/usr/local/bin/x": "0"}})
    found = _found(("m1", _empty("m1")), ("m2", _empty("m2")), ("m3", _empty("m3")), ("w1", served))
    _refused("w1 has run components of it", found, "m1", "m2", "m3")


def test_empty_hosts_are_refused_where_the_record_names_a_member_that_is_left_out() -> None:
    found = _found(("m2", _empty("m2")), ("m3", _empty("m3")), plan=_plan(without=frozenset({"m1"})), recorded=made())
    _refused("its record names m1, which is left out", found, "m2", "m3")


def test_empty_hosts_are_refused_where_a_member_that_is_left_out_has_a_certificate() -> None:
    found = _found(("m2", _empty("m2")), ("m3", _empty("m3")), plan=_plan(without=frozenset({"m1"})), entries=dict(ISSUED))
    _refused("certificates.json has an etcd certificate of m1, which is left out", found, "m2", "m3")


def test_a_member_with_data_of_its_own_is_no_evidence_against_itself() -> None:
    assert _found(("m1", _member("m1")), plan=_plan(1)) == []


# -- what is not


def test_members_with_their_data_have_no_findings() -> None:
    assert _found(*((name, _member(name)) for name in ("m1", "m2", "m3")), recorded=made(), entries=dict(ISSUED)) == []


def test_a_fresh_cluster_is_begun() -> None:
    assert _found(*((n.name, _empty(n.name)) for n in PLAN.nodes)) == []


def test_a_fresh_cluster_is_begun_without_a_host_that_never_was_a_member() -> None:
    assert _found(("m2", _empty("m2")), ("m3", _empty("m3")), plan=_plan(without=frozenset({"m1"}))) == []


def test_a_fresh_apply_that_was_killed_before_etcd_served_goes_on() -> None:
    """Files are there, and certificates were issued; the first members may have data already."""
    begun = {"etcd_data": False, "etcd_marked": False, "started_with": {}}
    hosts = [(name, _member(name, **begun)) for name in ("m1", "m2", "m3")]
    assert _found(*hosts, entries=dict(ISSUED)) == []
    assert _found(("m1", _member("m1")), *hosts[1:], entries=dict(ISSUED)) == []


def test_a_rebuilt_host_that_was_added_to_etcd_joins() -> None:
    assert _found(("m1", _member("m1", etcd=_answers(joining="m3"))), ("m2", _member("m2")), ("m3", _empty("m3"))) == []


def test_a_member_that_lost_its_disk_and_was_removed_and_added_joins() -> None:
    lost = _member("m3", etcd_data=False)
    assert _found(("m1", _member("m1", etcd=_answers(joining="m3"))), ("m2", _member("m2")), ("m3", lost)) == []


def test_a_member_that_was_added_does_not_let_another_one_join() -> None:
    found = _found(("m1", _member("m1", etcd=_answers(joining="m3"))), ("m2", _empty("m2")), ("m3", _empty("m3")))
    assert [p.where for p in found] == ["m2"]


def test_a_worker_without_etcd_is_nothing_to_judge() -> None:
    assert _found(("m1", _member("m1")), ("m2", _member("m2")), ("m3", _member("m3")), ("w1", _empty("w1"))) == []
