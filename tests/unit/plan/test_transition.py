"""Edits that a live cluster allows, and refused ones with the way that works."""

from __future__ import annotations

import copy
import dataclasses
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from kubewright.model.build import make_plan
from kubewright.model.cluster import Plan
from kubewright.model.lineage import Lineage
from kubewright.observe.live import Live, live_of
from kubewright.plan import record
from kubewright.plan.rules import Kind
from kubewright.plan.transition import Difference, added, classify, record_of, refused
from kubewright.releases import SUPPORTED
from kubewright.spec import ClusterSpec, checks
from roles.etcd_users.role import network
from tests.support.live_hosts import api, configured, machine_id, reached

Text = dict[str, Any]


def _text(masters: int = 3, workers: int = 2) -> Text:
    hosts = [{"name": f"m{i}", "address": f"192.0.2.{10 + i}", "roles": ["master"]} for i in range(1, masters + 1)]
    hosts += [{"name": f"w{i}", "address": f"192.0.2.{30 + i}", "roles": ["worker"]} for i in range(1, workers + 1)]
    return {"name": "prod", "kubernetes": "1.37.0", "hosts": hosts, "network": {}, "api": {}}


def _plan(text: Text) -> Plan:
    return make_plan(ClusterSpec.model_validate(text, context={"folder": Path("/nonexistent")}))


def _record(plan: Plan) -> Lineage:
    hosts = reached(plan, plan)
    return record.wanted(None, live_of(hosts), plan, hosts)


def _classified(old: Plan, new: Plan, *, recorded: bool = True) -> tuple[Difference, ...]:
    made = _record(old) if recorded else None
    live = live_of(reached(old, new, made))
    return classify(record_of(live, None), live, new, frozenset(n.name for n in old.kubelets))


def _edited(edit: Text) -> Text:
    return {**_text(), **edit}


def _host(number: int, **edit: object) -> Text:
    text = _text()
    text["hosts"][number].update(edit)
    return text


REFUSED = [
    ("services", _edited({"network": {"services": "10.112.0.0/16"}}), {"network.services", "network.dns"}),
    ("pods", _edited({"network": {"pods": "10.200.0.0/16"}}), {"network.pods"}),
    ("pod_prefix_length", _edited({"network": {"pod_prefix_length": 25}}), {"network.pod_prefix_length"}),
    ("backend", _edited({"network": {"backend": "wireguard"}}), {"network.backend"}),
    ("domain", _edited({"network": {"domain": "example.org"}}), {"network.domain"}),
    ("dns", _edited({"network": {"dns": "10.96.0.53"}}), {"network.dns"}),
    ("api.port", _edited({"api": {"port": 7443}}), {"api.port"}),
    ("name", _edited({"name": "other"}), {"name"}),
    ("a later minor", _edited({"kubernetes": "1.36.3"}), {"kubernetes"}),
    ("a worker's name", _host(4, name="w9"), {"hosts[].name"}),
    ("a master's name", _host(0, name="m9"), {"hosts[].name", "hosts[].roles"}),
    ("a worker's address", _host(4, address="192.0.2.99"), {"hosts[].address"}),
    ("a master's address", _host(0, address="192.0.2.99"), {"hosts[].address", "hosts[].roles"}),
    ("etcd given to a worker", _host(4, roles=["worker", "etcd"]), {"hosts[].roles"}),
    ("a worker is dropped", _text(workers=1), {"hosts"}),
    ("masters are dropped", _text(masters=1), {"hosts", "hosts[].roles"}),
    ("masters are added", {**_text(), "hosts": _text(masters=5)["hosts"]}, {"hosts[].roles"}),
]


@pytest.mark.parametrize("recorded", [True, False], ids=["with its record", "before it has one"])
@pytest.mark.parametrize(("text", "rules"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED])
def test_an_edit_that_a_live_cluster_cannot_take_is_refused(text: Text, rules: set[str], recorded: bool) -> None:
    found = [d for d in _classified(_plan(_text()), _plan(text), recorded=recorded) if d.refused]
    assert {d.rule.setting for d in found} == rules
    for difference in found:
        problem = difference.problem
        assert problem.where and problem.what and problem.todo and "{" not in problem.todo
        assert difference.was in problem.what


def test_a_difference_names_its_place_its_values_and_the_way_back() -> None:
    (found,) = _classified(_plan(_text()), _plan(_edited({"api": {"port": 7443}})))
    assert found.problem.where == "cluster.yaml api.port"
    assert found.problem.what == (
        "can't change on a live cluster (6443 -> 7443): "
        "kubeconfigs, load balancers and the Service kubernetes use the old port until each is changed"
    )
    assert found.problem.allowed == "6443"
    assert found.problem.todo == (
        "put 6443 back; to get 7443, make a second cluster, move the workloads to it, then reset this one"
    )


ALLOWED = [
    {},
    {"api": {"extra_sans": ["api.example.org"]}},
    {"extra_args": {"kubelet": {"v": "4"}}},
    {"network": {"proxy_mode": "nftables", "node_ports": "30000-32000"}},
    {"pki": {"renew_before_days": 100}},
]


@pytest.mark.parametrize("recorded", [True, False])
@pytest.mark.parametrize("edit", ALLOWED)
def test_an_allowed_edit_is_no_difference(edit: Text, recorded: bool) -> None:
    assert _classified(_plan(_text()), _plan(_edited(edit)), recorded=recorded) == ()


@pytest.mark.parametrize(("was", "wanted"), [("vxlan", "host-gw"), ("host-gw", "vxlan")])
def test_another_backend_is_rolling(was: str, wanted: str) -> None:
    old, new = (_plan(_edited({"network": {"backend": backend}})) for backend in (was, wanted))
    (found,) = _classified(old, new)
    assert (found.kind, found.was, found.wanted) == (Kind.ROLLING, was, wanted)


@pytest.mark.parametrize("other", ["vxlan", "host-gw"])
def test_a_change_from_wireguard_is_refused_since_packets_would_travel_unencrypted(other: str) -> None:
    old, new = (_plan(_edited({"network": {"backend": backend}})) for backend in ("wireguard", other))
    (found,) = _classified(old, new)
    assert found.refused and "unencrypted" in found.problem.what


def test_a_later_patch_is_for_upgrade_and_an_earlier_one_for_rollback() -> None:
    (found,) = _classified(_plan(_text()), _plan(_edited({"kubernetes": "1.37.1"})))
    assert (found.kind, found.was, found.wanted) == (Kind.VERB, "1.37.0", "1.37.1")
    assert found.problem.todo == "kubewright upgrade --to 1.37.1 -i INVENTORY"
    (found,) = _classified(_plan(_edited({"kubernetes": "1.37.1"})), _plan(_text()))
    assert (found.kind, found.was, found.wanted) == (Kind.VERB, "1.37.1", "1.37.0")
    assert "kubewright upgrade --to 1.37.1" in found.problem.todo and "kubewright rollback" in found.problem.todo


def test_apply_takes_no_other_release_and_a_move_does() -> None:
    for old in SUPPORTED:
        for new in SUPPORTED:
            found = _classified(_plan(_edited({"kubernetes": old.kubernetes})), _plan(_edited({"kubernetes": new.kubernetes})))
            assert [d.kind for d in found] == ([] if old == new else [Kind.VERB])
            assert bool(refused(found)) == (old != new)
            assert not refused(found, moves=True)


@pytest.mark.parametrize("recorded", [True, False])
def test_a_wider_range_of_services_is_rolling_and_a_narrower_one_refused(recorded: bool) -> None:
    narrow, wide = _plan(_edited({"network": {"services": "10.96.0.0/20"}})), _plan(_text())
    (found,) = _classified(narrow, wide, recorded=recorded)
    assert (found.kind, found.was, found.wanted) == (Kind.ROLLING, "10.96.0.0/20", "10.96.0.0/16")
    assert {d.kind for d in _classified(wide, narrow, recorded=recorded)} == {Kind.REFUSED}
    shifted = _plan(_edited({"network": {"services": "10.96.0.0/12"}}))
    assert {d.kind for d in _classified(_plan(_edited({"network": {"services": "10.97.0.0/16"}})), shifted)} == {Kind.REFUSED}


def test_the_record_keeps_the_range_that_services_began_with() -> None:
    narrow, wide = _plan(_edited({"network": {"services": "10.96.0.0/20"}})), _plan(_text())
    made = _record(narrow)
    hosts = reached(narrow, wide, made)
    after = record.wanted(made, live_of(hosts), wide, hosts)
    assert (after.first_services, after.settings["network.services"]) == ("10.96.0.0/20", "10.96.0.0/16")
    adopted = record.wanted(None, live_of(hosts), wide, hosts)
    assert adopted.first_services == "10.96.0.0/20"


def test_a_roll_that_was_killed_half_way_continues() -> None:
    old, new = _plan(_text()), _plan(_edited({"kubernetes": "1.37.1"}))
    hosts = {**reached(old, new), **{name: o for name, o in reached(new, new).items() if name in ("m1", "w1")}}
    (found,) = classify(None, live_of(hosts), new, frozenset())
    assert (found.kind, found.where) == (Kind.VERB, "cluster.yaml kubernetes, kubernetes on m2, m3, w2")
    (back,) = classify(None, live_of(hosts), old, frozenset())
    assert (back.kind, back.where) == (Kind.VERB, "cluster.yaml kubernetes, kubernetes on m1, w1")


def test_a_node_that_is_not_ready_may_leave() -> None:
    old, new = _plan(_text()), _plan(_text(workers=1))
    hosts = {name: dataclasses.replace(o, api=o.api and api(old, frozenset({"w2"}))) for name, o in reached(old, new).items()}
    (found,) = classify(None, live_of(hosts), new, frozenset({"w2"}))
    assert (found.where, found.kind) == ("w2", Kind.PLAIN)
    assert "kubewright node remove w2 --dead -i INVENTORY" in str(found)


def test_a_node_that_was_never_ours_is_no_difference() -> None:
    old, new = _plan(_text()), _plan(_text(workers=1))
    live = live_of(reached(old, new))
    assert classify(None, live, new, frozenset({"w1"})) == ()


def test_hosts_without_a_cluster_have_no_differences() -> None:
    plan = _plan(_text())
    empty = {name: dataclasses.replace(o, installed=(), entries={}, configured={}, api=None, etcd=None)
             for name, o in reached(plan, plan).items()}  # fmt: skip
    assert classify(None, live_of(empty), plan, frozenset({"m1"})) == ()
    assert record_of(live_of(empty), _record(plan)) is None, "the copy beside the inventory is no cluster"


def test_a_joining_host_is_reported() -> None:
    old, new = _plan(_text()), _plan(_text(workers=3))
    live = live_of(reached(old, new))
    assert [(d.where, d.kind) for d in added(live, new)] == [("w3", Kind.PLAIN)]
    assert classify(_record(old), live, new, frozenset()) == ()


def test_while_the_api_is_down_the_hosts_own_configuration_counts() -> None:
    old = _plan(_text())
    silent = {name: dataclasses.replace(o, api=None, etcd=None) for name, o in reached(old, old).items()}
    for text in (_edited({"network": {"services": "10.112.0.0/16"}}), _edited({"network": {"domain": "x.org"}})):
        assert [d for d in classify(None, live_of(silent), _plan(text), frozenset()) if d.refused]
    assert classify(None, live_of(silent), old, frozenset()) == ()


def test_a_record_of_another_cluster_is_not_this_ones() -> None:
    plan = _plan(_text())
    other = dataclasses.replace(_record(plan), uid="another", generation=99)
    live = live_of(reached(plan, plan, other))
    assert record_of(live, other) is None
    assert record_of(dataclasses.replace(live, api=None), None) == other, "while the API is down it is all there is"
    assert record_of(Live(), other) is None


def test_the_record_is_the_same_after_an_apply_that_changed_nothing() -> None:
    plan = _plan(_text())
    made = _record(plan)
    hosts = reached(plan, plan, made)
    assert record.wanted(made, live_of(hosts), plan, hosts) == made
    silent = {name: dataclasses.replace(o, api=None, etcd=None) for name, o in hosts.items()}
    assert record.wanted(made, live_of(silent), plan, silent) == made


def test_the_record_follows_hosts_that_join_leave_and_are_rebuilt() -> None:
    old, new = _plan(_text()), _plan(_text(workers=3))
    made = _record(old)
    hosts = reached(old, new, made)
    more = record.wanted(made, live_of(hosts), new, hosts)
    assert more.node_names == made.node_names | {"w3"} and more.generation == 2
    rebuilt = {**hosts, "w3": dataclasses.replace(hosts["w3"], machine_id="another")}
    again = record.wanted(more, live_of(rebuilt), new, rebuilt)
    assert again.node_names == more.node_names and "another" in again.hosts and again.generation == 3
    without = {name: o for name, o in hosts.items() if name != "w2"}
    kept = record.wanted(more, live_of(without), dataclasses.replace(new, absent=frozenset({"w2"})), without)
    assert "w2" in kept.node_names, "a host that was left out is still of the cluster"


# -- any two specs

_NETWORKS = st.fixed_dictionaries(
    {},
    optional={
        "services": st.sampled_from(["10.96.0.0/16", "10.112.0.0/16", "10.96.0.0/20"]),
        "pods": st.sampled_from(["10.244.0.0/16", "10.200.0.0/16"]),
        "pod_prefix_length": st.sampled_from([24, 25]),
        "domain": st.sampled_from(["cluster.local", "example.org"]),
        "dns": st.sampled_from(["10.96.0.10", "10.96.0.11"]),
        "backend": st.sampled_from(["vxlan", "host-gw", "wireguard"]),
        "proxy_mode": st.sampled_from(["auto", "iptables", "nftables"]),
        "node_ports": st.sampled_from(["30000-32767", "31000-32000"]),
    },
)
_HOSTS = st.lists(
    st.fixed_dictionaries(
        {
            "name": st.sampled_from(["m1", "m2", "m3", "w1", "w2", "e1"]),
            "address": st.integers(11, 17).map(lambda last: f"192.0.2.{last}"),
            "roles": st.sampled_from([["master"], ["worker"], ["master", "worker"], ["etcd"], ["worker", "etcd"]]),
        }
    ),
    min_size=1,
    max_size=5,
    unique_by=(lambda host: host["name"], lambda host: host["address"]),
)
_SPECS = st.fixed_dictionaries(
    {"name": st.sampled_from(["prod", "test"]), "hosts": _HOSTS, "network": _NETWORKS},
    optional={
        "kubernetes": st.sampled_from([release.kubernetes for release in SUPPORTED]),
        "api": st.fixed_dictionaries({}, optional={"port": st.sampled_from([6443, 7443])}),
        "extra_args": st.just({"kubelet": {"v": "4"}}),
    },
)


@st.composite
def _pairs(draw: st.DrawFn) -> tuple[Text, Text]:
    """A spec, and an edit of it: some of its parts come from another spec."""
    old: Text = draw(_SPECS)
    other: Text = draw(_SPECS)
    new = copy.deepcopy(old)
    for key in draw(st.lists(st.sampled_from(["name", "kubernetes", "api", "extra_args", "network"]), max_size=3)):
        new[key] = other.get(key, old.get(key, {}))
    for part in draw(st.lists(st.sampled_from(sorted(other["network"]) or ["pods"]), max_size=2)):
        new["network"] = {**new["network"], part: other["network"].get(part, "10.244.0.0/16")}
    for host in new["hosts"][: draw(st.integers(0, 2))]:
        host.update(draw(st.sampled_from([{}, {"name": "n9"}, {"address": "192.0.2.99"}, {"roles": ["worker"]}])))
    if draw(st.booleans()):
        new["hosts"] = new["hosts"][draw(st.integers(0, 1)) :] + draw(st.lists(st.sampled_from(other["hosts"]), max_size=1))
    return old, new


def _valid(text: Text) -> Plan | None:
    cleaned = {key: value for key, value in text.items() if value != {} or key == "network"}
    try:
        spec = ClusterSpec.model_validate(cleaned, context={"folder": Path("/nonexistent")})
    except ValueError:
        return None
    return None if list(checks.findings(spec)) else make_plan(spec)


def _without_range(told: dict[str, str]) -> dict[str, str]:
    return {flag: value for flag, value in told.items() if not flag.endswith(" service-cluster-ip-range")}


@settings(max_examples=1000, deadline=None)
@given(_pairs())
def test_allowed_edits_change_no_fixed_setting_of_a_cluster(pair: tuple[Text, Text]) -> None:
    old, new = map(_valid, pair)
    assume(old is not None and new is not None)
    assert old is not None and new is not None
    if any(d.refused for d in _classified(old, new)):
        return
    before = {machine_id(node): configured(old, node) for node in old.nodes}
    hosts = reached(old, new)
    if not before.keys() & {host.machine_id for host in hosts.values()}:
        return  # other machines, without a cluster
    for node in new.nodes:
        if (was := before.get(hosts[node.name].machine_id)) is not None:
            assert _without_range(configured(new, node)) == _without_range(was)
    assert new.services.supernet_of(old.services) and new.api_service_address == old.api_service_address
    if new.backend != old.backend:
        assert {new.backend, old.backend} == {"vxlan", "host-gw"}
    assert network(dataclasses.replace(new, backend=old.backend), nftables=False) == network(old, nftables=False)
    assert {(n.name, n.address) for n in new.etcd_members} == {(n.name, n.address) for n in old.etcd_members}
    assert new.release.version.line == old.release.version.line and new.release.version >= old.release.version
