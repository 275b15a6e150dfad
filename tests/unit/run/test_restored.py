"""After a restore: an old member's data is found, a restore that was killed is found, and the token stays."""

from __future__ import annotations

import dataclasses

import pytest

from kubewright.model.lineage import Lineage, cluster_of, generation_of, token
from kubewright.observe.live import Live
from kubewright.observe.observed import SECTION, Observed
from kubewright.observe.text import parse
from kubewright.plan import record
from kubewright.run.preflight import Cluster, foreign
from kubewright.run.preflight.restored import findings, restored_token
from roles.etcd.role import desired
from tests.support.scenarios import RECORDED, scenario

HA = scenario("ha")
MASTERS = [node.name for node in HA.plan.etcd_members]
RECORD = Lineage(
    name="ha", uid="u", created="", etcd_id="1", etcd_token=f"{HA.plan.cluster}@2", members=(), settings={},
    first_services="10.96.0.0/16",
)  # fmt: skip


def _host(name: str, **facts: object) -> Observed:
    return dataclasses.replace(HA.observed(name), etcd_data=True, installed=("unit etcd.service",), **facts)  # type: ignore[arg-type]


def _found(hosts: dict[str, Observed], known: Lineage = RECORD, copy: Lineage | None = None) -> list[str]:
    cluster = Cluster(plan=HA.plan, roles=(), peer_ports={}, observed=hosts, entries=HA.store.entries)
    return [f"{problem.where}: {problem.what}" for problem in findings(cluster, known, copy)]


def test_tokens_have_generations() -> None:
    assert [token("a", n) for n in (1, 2, 12)] == ["a", "a@2", "a@12"]
    assert [generation_of(text) for text in ("", "a", "a@2", "a@12")] == [0, 1, 2, 12]
    assert [cluster_of(text) for text in ("", "a", "a@2")] == ["", "a", "a"]


def test_members_of_the_restored_cluster_are_well() -> None:
    now = RECORD.etcd_token
    assert (
        _found({MASTERS[0]: _host(MASTERS[0], etcd_restored=f"{now} 12ab"), MASTERS[1]: _host(MASTERS[1], etcd_token=now)}) == []
    )


def test_a_member_with_data_from_before_the_restore_is_named() -> None:
    name = HA.plan.cluster
    (said,) = _found({MASTERS[2]: _host(MASTERS[2], etcd_token=name)})
    assert said == f"{MASTERS[2]}: its etcd data is older than the restore of the cluster ({name}, the cluster is {name}@2 now)"
    assert _found({MASTERS[2]: dataclasses.replace(_host(MASTERS[2], etcd_token=name), etcd_data=False)}) == []


def test_a_restore_that_was_killed_is_named_until_it_is_run_again() -> None:
    first = dataclasses.replace(RECORD, etcd_token=HA.plan.cluster)
    (said,) = _found({MASTERS[0]: _host(MASTERS[0], etcd_restored=f"{HA.plan.cluster}@2 12ab")}, first)
    assert "a restore was begun and did not end" in said


def test_a_restore_that_was_killed_on_new_hosts_is_named_before_a_member_begins_without_the_data() -> None:
    copy = dataclasses.replace(RECORD, operation="restore 12ab 34cd", generation=8)
    seeded = _host(MASTERS[0], etcd_restored=f"{copy.etcd_token} 12ab")
    empty = {name: dataclasses.replace(_host(name), etcd_data=False) for name in MASTERS[1:]}
    (said,) = _found({MASTERS[0]: seeded, **empty}, copy, copy)
    assert f"a restore was begun and did not end, and {', '.join(MASTERS[1:])} has no data" in said
    (said,) = _found({**empty}, copy, copy)
    assert said.startswith("cluster.json: ")
    # Nothing was replaced: what was stopped may start again.
    first = dataclasses.replace(RECORD, etcd_token=HA.plan.cluster)
    assert _found({name: _host(name, etcd_token=HA.plan.cluster) for name in MASTERS}, first, copy) == []
    # It ended from another machine, and a member was lost since.
    whole = dataclasses.replace(copy, operation="")
    assert _found({MASTERS[0]: dataclasses.replace(seeded, lineage=whole), **empty}, whole, copy) == []


@pytest.mark.parametrize("facts", [{"etcd_token": ""}, {"etcd_token": HA.plan.cluster}])
def test_a_cluster_that_was_never_restored_has_no_finding(facts: dict[str, str]) -> None:
    assert _found({MASTERS[0]: _host(MASTERS[0], **facts)}, dataclasses.replace(RECORD, etcd_token=HA.plan.cluster)) == []


def test_a_token_with_a_generation_is_the_clusters_own() -> None:
    cluster = Cluster(plan=HA.plan, roles=(), peer_ports={}, observed={}, entries={})
    bare = {"authorities": frozenset[str]()}
    assert not foreign(cluster, _host(MASTERS[0], etcd_token=f"{HA.plan.cluster}@3", **bare))
    assert foreign(cluster, _host(MASTERS[0], etcd_token="staging@3", **bare))


def test_an_apply_after_a_restore_keeps_the_token() -> None:
    hosts = {name: _host(name, etcd_token=f"{HA.plan.cluster}@2") for name in MASTERS}
    assert record.wanted(RECORD, Live(), HA.plan, hosts).etcd_token == f"{HA.plan.cluster}@2"
    assert record.wanted(None, Live(), HA.plan, hosts).etcd_token == f"{HA.plan.cluster}@2"
    assert record.wanted(None, Live(), HA.plan, {}).etcd_token == HA.plan.cluster
    restoring = dataclasses.replace(HA.plan, etcd_token=f"{HA.plan.cluster}@3")
    assert record.wanted(RECORD, Live(), restoring, hosts).etcd_token == f"{HA.plan.cluster}@3"


def test_etcd_s_settings_follow_the_record() -> None:
    context = dataclasses.replace(HA.context(MASTERS[0]), lineage=RECORD)

    texts = {f.path: f.content for f in desired(context).files}
    assert f"ETCD_INITIAL_CLUSTER_TOKEN={HA.plan.cluster}@2".encode() in texts["/etc/etcd/bootstrap.env"]  # type: ignore[operator]


def test_the_host_s_record_of_a_restore_is_observed() -> None:
    recorded = (RECORDED / "debian12-cgroup1.txt").read_text()
    assert parse(recorded).etcd_restored == ""
    lines = f"{SECTION}etcd\ndata\nmarked\nrestored prod@2 12ab\n"
    host = parse(recorded.replace(f"{SECTION}etcd\n", lines))
    assert (host.etcd_restored, host.etcd_data, host.etcd_marked) == ("prod@2 12ab", True, True)
    assert restored_token(host) == "prod@2"
