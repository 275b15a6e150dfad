"""What must be in order before a cluster moves, from the answers of a live one: every finding at once, each with a way out."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Mapping
from typing import Any

import pytest

from kubewright.errors import Problem
from kubewright.observe.live import Etcd, live_of
from kubewright.observe.observed import Observed
from kubewright.plan.move import Move
from kubewright.releases import release_for
from kubewright.verbs.upgrade import asking, checks
from kubewright.verbs.upgrade.asking import Answers, Budget, Deprecated, Hook, Kind, Member
from kubewright.verbs.upgrade.checks import Scene
from tests.support.live_hosts import reached
from tests.support.scenarios import NOW, scenario

LAB = scenario("lab")
GIB = 1 << 30


def _hosts() -> Mapping[str, Observed]:
    return reached(LAB.plan, LAB.plan)


def _scene(hosts: Mapping[str, Observed] | None = None, *, verb: str = "upgrade", begun: bool = False, **answers: Any) -> Scene:
    hosts = hosts or _hosts()
    given: dict[str, Any] = {
        "budgets": (), "hooks": (), "serving": frozenset(), "kinds": (),
        "members": {n.name: Member(cluster_version="3.6.0", size=GIB // 4, temporary=GIB) for n in LAB.plan.etcd_members},
    }  # fmt: skip
    return Scene(
        plan=LAB.plan,
        move=Move(verb="rollback" if verb == "rollback" else "upgrade", target=release_for("1.37.0")),  # the lab runs 1.37.1
        live=live_of(hosts),
        observed=hosts,
        entries=LAB.store.entries,
        answers=Answers(**{**given, **answers}),
        begun=begun,
        free_here=GIB,
        now=NOW,
    )


def _one(scene: Scene) -> Problem:
    (found,) = checks.findings(scene)
    assert found.todo and found.allowed
    return found


def test_a_healthy_cluster_has_no_finding_and_no_remark() -> None:
    assert (checks.findings(_scene()), checks.remarks(_scene())) == ([], [])


def _with_etcd(**values: Any) -> Mapping[str, Observed]:
    hosts = dict(_hosts())
    for name, host in hosts.items():
        if isinstance(host.etcd, Etcd):
            hosts[name] = dataclasses.replace(host, etcd=dataclasses.replace(host.etcd, **values))
    return hosts


@pytest.mark.parametrize("begun", [False, True])
@pytest.mark.parametrize("alarm", ["NOSPACE", "CORRUPT"])
def test_an_alarm_of_etcd_is_told_always(alarm: str, begun: bool) -> None:
    found = _one(_scene(_with_etcd(alarms=(f"{alarm} 8e9e05c52164694d",)), begun=begun))
    assert found.what == f"the alarm {alarm} is raised (member 8e9e05c52164694d)"
    assert "docs/runbooks/etcd.md" in found.todo


@pytest.mark.parametrize("part", ["etcd", "api"])
def test_before_a_move_every_member_and_apiserver_answers(part: str) -> None:
    hosts = dict(_hosts())
    silent: dict[str, Any] = {part: None}
    hosts["m2"] = dataclasses.replace(hosts["m2"], **silent)
    found = _one(_scene(hosts))
    assert found.where == "m2" and "does not answer" in found.what
    assert checks.findings(_scene(hosts, begun=True)) == []


def test_a_node_that_is_not_ready_is_told_before_a_move_and_not_when_it_goes_on() -> None:
    hosts = dict(_hosts())
    api = hosts["m1"].api
    assert api is not None
    nodes = tuple(dataclasses.replace(n, ready=n.name != "w2") for n in api.nodes)
    hosts["m1"] = dataclasses.replace(hosts["m1"], api=dataclasses.replace(api, nodes=nodes))
    assert _one(_scene(hosts)).where == "w2"
    assert checks.findings(_scene(hosts, begun=True)) == []


def test_a_budget_that_never_allows_an_eviction_is_named_always() -> None:
    budget = Budget(name="shop/cart", allowed=0, healthy=2, desired=2, pods=2)
    for begun in (False, True):
        found = _one(_scene(budgets=(budget,), begun=begun))
        assert found.where == "PodDisruptionBudget shop/cart"
        assert found.what == "it allows no eviction: it wants 2 healthy pods, and has 2 of 2"


def test_a_budget_that_allows_none_now_stops_only_the_beginning() -> None:
    budget = Budget(name="shop/cart", allowed=0, healthy=1, desired=1, pods=2)
    assert _one(_scene(budgets=(budget,))).what == "it allows no eviction now: 1 of its 2 pods are healthy"
    assert checks.findings(_scene(budgets=(budget,), begun=True)) == []


@pytest.mark.parametrize(
    "budget",
    [
        Budget(name="a/b", allowed=1, healthy=2, desired=1, pods=2),
        Budget(name="a/empty", allowed=0, healthy=0, desired=0, pods=0),
    ],
)
def test_a_budget_that_allows_one_or_has_no_pods_is_no_finding(budget: Budget) -> None:
    assert checks.findings(_scene(budgets=(budget,))) == []


@pytest.mark.parametrize(("service", "down"), [("policy/gate", True), ("policy/up", False), ("", False)])
def test_a_webhook_that_fails_closed_and_is_down_is_named(service: str, down: bool) -> None:
    hook = Hook(configuration="ValidatingWebhookConfiguration gate", name="gate.example.org", service=service)
    scene = _scene(hooks=(hook,), serving=frozenset({"policy/up"}))
    assert bool(checks.findings(scene)) is down
    if down:
        assert "fails closed" in _one(scene).what and "policy/gate has no ready endpoint" in _one(scene).what


@pytest.mark.parametrize(("removed", "stands"), [("1.37", True), ("1.36", True), ("1.38", False), ("", False)])
def test_a_deprecated_api_stands_in_the_way_once_the_release_lacks_it(removed: str, stands: bool) -> None:
    api = Deprecated(api="flowcontrol.apiserver.k8s.io/v1beta3 flowschemas", removed=removed)
    scene = _scene(deprecated=(api,))
    assert bool(checks.findings(scene)) is stands
    assert bool(checks.remarks(scene)) is (removed == "1.38")
    assert checks.findings(_scene(deprecated=(api,), verb="rollback")) == []


def test_space_for_the_snapshot_is_counted_on_members_and_here() -> None:
    small = {"m1": Member(size=GIB, temporary=GIB), "m2": Member(size=GIB, temporary=2 * GIB)}
    found = checks.findings(_scene(members=small))
    assert [p.where for p in found] == ["m1", "this machine"]
    assert found[0].what == "too little space for a snapshot of etcd in the folder for temporary files (1024 MiB free)"
    assert found[0].allowed == "at least 1124 MiB"


def test_an_authority_that_ends_soon_is_rotated_first() -> None:
    later = dataclasses.replace(_scene(), now=NOW + dt.timedelta(days=3650 - 10))
    found = checks.findings(later)
    assert {p.todo for p in found} == {
        f"kubewright certs rotate-ca {name} -i INVENTORY first" for name in ("kubernetes", "etcd", "front-proxy")
    }


def test_an_authority_that_ends_soon_does_not_stop_a_move_that_goes_on() -> None:
    """rotate-ca is refused then."""
    later = dataclasses.replace(_scene(begun=True), now=NOW + dt.timedelta(days=3650 - 10))
    assert checks.findings(later) == []


def test_what_a_failed_upgrade_leaves_behind_does_not_stop_the_way_back_and_is_told() -> None:
    hosts = dict(_hosts())
    api = hosts["m1"].api
    assert api is not None
    nodes = tuple(dataclasses.replace(n, ready=n.name != "w2") for n in api.nodes)
    hosts["m1"] = dataclasses.replace(hosts["m1"], api=dataclasses.replace(api, nodes=nodes))
    hosts["m2"] = dataclasses.replace(hosts["m2"], api=None, etcd=None)
    hook = Hook(configuration="MutatingWebhookConfiguration x", name="x", service="a/x")
    short = Budget(name="shop/cart", allowed=0, healthy=1, desired=1, pods=2)
    scene = _scene(hosts, verb="rollback", hooks=(hook,), budgets=(short,))
    later = dataclasses.replace(scene, now=NOW + dt.timedelta(days=3650 - 10))
    assert checks.findings(later) == []
    assert [line.partition(":")[0] for line in checks.remarks(later)] == [
        "certificates.json ca/kubernetes", "certificates.json ca/etcd", "certificates.json ca/front-proxy", "m2", "m2", "w2",
        "MutatingWebhookConfiguration x x", "PodDisruptionBudget shop/cart",
    ]  # fmt: skip


def test_a_budget_stops_no_move_that_drains_no_node() -> None:
    never = Budget(name="shop/cart", allowed=0, healthy=2, desired=2, pods=2)
    scene = _scene(budgets=(never,), begun=True)
    there = dataclasses.replace(scene, move=dataclasses.replace(scene.move, target=LAB.plan.release))
    assert (len(checks.findings(scene)), checks.findings(there)) == (1, [])


@pytest.mark.parametrize("begun", [False, True], ids=["before", "a host that joins looks like a move that has begun"])
def test_a_member_without_a_vote_is_to_get_it_first(begun: bool) -> None:
    etcd = _hosts()["m1"].etcd
    assert etcd is not None
    found = _one(_scene(_with_etcd(learners=frozenset({etcd.members[-1].id})), begun=begun))
    assert found.what == f"the member {etcd.members[-1].name} has joined, and has no vote yet"


def test_all_findings_are_told_at_once() -> None:
    scene = _scene(
        _with_etcd(alarms=("NOSPACE 1",)),
        budgets=(Budget(name="a/b", allowed=0, healthy=1, desired=1, pods=1),),
        hooks=(Hook(configuration="MutatingWebhookConfiguration x", name="x", service="a/x"),),
        deprecated=(Deprecated(api="v1 x", removed="1.37"),),
        members={"m1": Member(size=GIB, temporary=0)},
    )
    assert len(checks.findings(scene)) == 6


def test_cordoned_nodes_and_old_stored_versions_are_remarks() -> None:
    hosts = dict(_hosts())
    api = hosts["m1"].api
    assert api is not None
    nodes = tuple(dataclasses.replace(n, schedulable=n.name != "w1") for n in api.nodes)
    hosts["m1"] = dataclasses.replace(hosts["m1"], api=dataclasses.replace(api, nodes=nodes))
    scene = _scene(hosts, kinds=(Kind(name="widgets.example.org", stored=("v1alpha1", "v1"), storage="v1"),), budgets=None)
    assert checks.findings(scene) == []
    assert checks.remarks(scene) == [
        "w1: cordoned by somebody; drained like the others, and left cordoned",
        "widgets.example.org: objects may still be stored as v1alpha1, and are written as v1",
        "not known, because the API did not list them: PodDisruptionBudgets",
    ]


# -- the answers themselves

SAID = """@@deprecated
apiserver_requested_deprecated_apis{group="",removed_release="",resource="endpoints",subresource="",version="v1"} 1
apiserver_requested_deprecated_apis{group="a.io",removed_release="1.38",resource="x",subresource="status",version="v1beta1"} 1
apiserver_requested_deprecated_apis{group="a.io",removed_release="1.37",resource="gone",subresource="",version="v1beta1"} 0
.
@@budgets
shop/cart\t0\t2\t2\t2
.
@@hooks
ValidatingWebhookConfiguration\tgate\tgate.example.org\tFail\tpolicy/gate
MutatingWebhookConfiguration\turl\turl.example.org\tFail\t
MutatingWebhookConfiguration\topen\topen.example.org\tIgnore\tpolicy/open
.
@@slices
policy/gate\ttrue,false,
policy/down\tfalse,
policy/empty\t
a/unknown\t<no value>,
.
@@kinds
widgets.example.org\tv1alpha1,v1,\tv1
.
@@end
"""
MEMBER = """@@version
{"etcdserver":"3.7.3","etcdcluster":"3.7.0","storage":"3.7.0"}

.
@@size
[{"Endpoint":"https://127.0.0.1:2379","Status":{"version":"3.7.3","dbSize":20480,"storageVersion":"3.7.0"}}]
.
@@temporary
1024
.
@@end
"""


def test_the_answers_are_read() -> None:
    found = asking.answers([SAID], {"m1": MEMBER})
    assert found.deprecated == (
        Deprecated(api="a.io/v1beta1 x/status", removed="1.38"),
        Deprecated(api="v1 endpoints", removed=""),
    )
    assert found.budgets == (Budget(name="shop/cart", allowed=0, healthy=2, desired=2, pods=2),)
    assert [hook.service for hook in found.hooks or ()] == ["policy/gate", ""]
    assert found.serving == frozenset({"policy/gate", "a/unknown"})
    assert found.kinds == (Kind(name="widgets.example.org", stored=("v1alpha1", "v1"), storage="v1"),)
    assert found.members == {"m1": Member(cluster_version="3.7.0", size=20480, temporary=1 << 20)}


def test_an_incomplete_section_is_not_known_and_another_master_says_it() -> None:
    cut = SAID[: SAID.index("@@slices")].replace("2\t2\t2\n.\n", "2\t2\t2\n")
    assert asking.answers([cut], {}).budgets is None
    assert asking.answers([cut], {}).hooks is not None
    assert asking.answers([cut, SAID], {}).budgets == asking.answers([SAID], {}).budgets


def test_every_apiserver_counts_its_own_requests() -> None:
    quiet = "@@deprecated\n.\n@@end\n"
    assert len(asking.answers([quiet, SAID], {}).deprecated) == 2


def test_nobody_answers() -> None:
    found = asking.answers(["", ""], {"m1": ""})
    assert (found.budgets, found.hooks, found.serving, found.kinds) == (None, None, None, None)
    assert found.members == {"m1": Member()}


def test_a_node_that_is_not_drained_because_the_others_are_cordoned_is_named_before() -> None:
    hosts = dict(_hosts())
    api = hosts["m1"].api
    assert api is not None
    nodes = tuple(dataclasses.replace(n, schedulable=n.name == "w1") for n in api.nodes)
    hosts["m1"] = dataclasses.replace(hosts["m1"], api=dataclasses.replace(api, nodes=nodes))
    assert any(line.startswith("w1: not drained, because no other node takes pods") for line in checks.remarks(_scene(hosts)))
