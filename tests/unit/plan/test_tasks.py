"""Tasks: the evidence in the cluster, the host that does them, and their lines in a plan."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping

import pytest

from deploy.steps import ROLES
from kubewright.hosts.script import stage
from kubewright.model.cluster import Plan
from kubewright.model.etcd_rights import RIGHTS, ROOT, USERS, role_of
from kubewright.observe import facts
from kubewright.observe.live import Api, LiveNode
from kubewright.observe.observed import Observed
from kubewright.plan import leftovers
from kubewright.plan.changes import changes
from kubewright.plan.context import Context
from kubewright.plan.desired import Desired, Task
from kubewright.plan.objects import marked
from kubewright.plan.together import Together, together
from kubewright.releases.systems import system_of
from tests.support.hosts import carried_out, fresh
from tests.support.scenarios import recorded, scenario

TASK = Task(title="apply x", content=b"x", apply="true", evidence={"A": "1", "B": "2"})
ROLE = {role.name: role for role in ROLES}
WORKING = ("rbac", "nodes", "coredns", "etcd_users")


def _seen(said: Mapping[str, str]) -> Observed:
    return dataclasses.replace(fresh(), facts=said)


def _sentences(said: Mapping[str, str], *tasks: Task) -> tuple[str, ...]:
    return changes(Desired(tasks=tasks or (TASK,)), _seen(said)).sentences()


def test_a_task_is_done_when_the_cluster_shows_all_of_its_evidence() -> None:
    assert not changes(Desired(tasks=(TASK,)), _seen({"A": "1", "B": "2", "of others": "3"}))


def test_without_an_answer_from_the_cluster_the_task_is_done_again() -> None:
    assert _sentences({}) == ("apply x",), "nothing is installed there yet"
    begun = dataclasses.replace(fresh(), installed=("unit etcd.service",))
    (sentence,) = changes(Desired(tasks=(TASK,)), begun).sentences()
    assert sentence == "apply x (nothing in the cluster shows that it is done)"


def test_missing_or_changed_evidence_is_named() -> None:
    assert _sentences({"A": "1"}) == ("apply x (missing or changed: B)",)
    assert _sentences({"A": "0", "B": "2"}) == ("apply x (missing or changed: A)",)
    many = Task(title="apply x", content=b"", apply="", evidence={str(i): "" for i in range(150)})
    assert _sentences({"0": ""}, many) == ("apply x (missing or changed: 1, 2, 3, 4, 5 and 144 more)",)


def test_a_task_is_staged_after_everything_else_and_leaves_no_file() -> None:
    system = system_of("debian", "12")
    assert system is not None
    staged = stage(changes(Desired(tasks=(TASK,)), _seen({})), system, lambda _file: b"").files
    assert staged["act.sh"].decode().endswith("\nexport here new=$here/task.0; sh -eu do.0\n")
    assert (staged["task.0"], staged["do.0"]) == (b"x", b"true")
    assert leftovers.wanted([Desired(tasks=(TASK,))]) == frozenset()


# -- the host that does it


def _hosts(name: str = "lab", **said: Mapping[str, str]) -> dict[str, Observed]:
    made = scenario(name)
    return {n.name: dataclasses.replace(made.observed(n.name), facts=said.get(n.name, {})) for n in made.plan.nodes}


ANSWERS = {facts.API: "answers", facts.ETCD: "answers"}


def test_in_a_new_cluster_the_first_host_does_it() -> None:
    found = together(scenario("lab").plan, _hosts())
    assert (found.master, found.member) == ("m1", "m1")


def test_the_first_present_host_that_answers_does_it() -> None:
    plan = scenario("lab").plan
    found = together(plan, _hosts(m2=ANSWERS, m3=ANSWERS))
    assert (found.master, found.member) == ("m2", "m2")
    without = {name: host for name, host in _hosts(m3=ANSWERS).items() if name != "m1"}
    assert together(plan, without).master == "m3"
    assert together(plan, {name: host for name, host in _hosts().items() if name != "m1"}).master == "m2"


@pytest.mark.parametrize("role", WORKING)
def test_exactly_one_host_does_it(role: str) -> None:
    made = scenario("lab")
    for acting in ("m1", "m2"):
        cluster = dataclasses.replace(together(made.plan, _hosts()), master=acting, member=acting)
        contexts = {n.name: dataclasses.replace(made.context(n.name), together=cluster) for n in made.plan.masters}
        assert [name for name, context in contexts.items() if ROLE[role].desired(context).tasks] == [acting]


@pytest.mark.parametrize("role", WORKING)
def test_another_host_that_does_it_finds_it_done(role: str) -> None:
    """The desired state does not depend on the host that does it."""
    made = scenario("lab")
    tasks = []
    for acting in ("m1", "m2"):
        cluster = dataclasses.replace(together(made.plan, _hosts()), master=acting, member=acting)
        context = dataclasses.replace(made.context(acting), together=cluster)
        tasks.append(ROLE[role].desired(context).tasks)
    assert tasks[0] == tasks[1]


@pytest.mark.parametrize("role", WORKING)
def test_without_any_one_piece_of_evidence_it_is_done_again(role: str) -> None:
    desired = ROLE[role].desired(scenario("lab").context("m1"))
    (task,) = desired.tasks
    done = carried_out(desired)
    assert not changes(desired, done)
    for about in task.evidence:
        said = {key: value for key, value in done.facts.items() if key != about}
        (sentence,) = changes(desired, dataclasses.replace(done, facts=said)).sentences()
        assert task.title in sentence
        assert about in sentence or len(task.evidence) == 1


# -- objects


@pytest.mark.parametrize("role", ["rbac", "coredns"])
def test_every_object_is_marked_and_of_a_kind_that_is_observed(role: str) -> None:
    (task,) = ROLE[role].desired(scenario("lab").context("m1")).tasks
    whole = json.loads(task.content)
    objects = whole["items"] if whole["kind"] == "List" else [whole]
    assert len(task.evidence) == len(objects)
    for found in objects:
        metadata = found["metadata"]
        assert found["kind"] in facts.PATHS
        assert metadata.get("namespace", "kube-system") == "kube-system"
        assert metadata["labels"][facts.TASK] == role
        assert metadata["annotations"][facts.APPLIED] == task.evidence[facts.of_object(found["kind"], metadata["name"])]


def test_another_manifest_has_another_sum() -> None:
    text = b"kind: ConfigMap\nmetadata: {name: x}\ndata: {a: %d}\n"
    assert marked("t", text % 1).evidence != marked("t", text % 2).evidence


# -- hosts that are left out


def _without(plan: Plan, *names: str) -> Plan:
    return dataclasses.replace(plan, absent=frozenset(names))


def _context(plan: Plan, *nodes: str) -> Context:
    live = [LiveNode(name=n, machine_id="", kubernetes="", ready=True, schedulable=True, address="") for n in nodes]
    api = Api(nodes=tuple(live))
    there = {name: dataclasses.replace(host, api=api) for name, host in _hosts().items() if name not in plan.absent}
    return dataclasses.replace(scenario("lab").context("m1"), plan=plan, together=together(plan, there))


def test_a_node_that_never_joined_and_is_left_out_is_not_waited_for() -> None:
    plan = _without(scenario("lab").plan, "m3")
    (task,) = ROLE["nodes"].desired(_context(plan, "m1")).tasks
    names = [line.split()[1] for line in task.content.decode().splitlines() if line.startswith("node ")]
    assert names == ["m1", "m2", "w1", "w2"]
    assert not [about for about in task.evidence if about.endswith(" m3")]


def test_a_registered_node_is_labelled_even_if_its_host_is_left_out() -> None:
    plan = _without(scenario("lab").plan, "m3")
    (task,) = ROLE["nodes"].desired(_context(plan, "m1", "m2", "m3")).tasks
    assert [about for about in task.evidence if about.endswith(" m3")]


@pytest.mark.parametrize(
    ("absent", "how"),
    [
        ((), "rollout status"),
        (("m3",), "rollout status"),
        (("m2", "m3", "w1", "w2"), "wait --for=condition=Available"),
    ],
)
def test_coredns_is_waited_for_only_where_there_are_hosts_for_it(absent: tuple[str, ...], how: str) -> None:
    (task,) = ROLE["coredns"].desired(_context(_without(scenario("lab").plan, *absent))).tasks
    assert f"-n kube-system {how} deployment/coredns" in task.apply
    assert json.loads(task.content)["items"][4]["spec"]["replicas"] == 2, "what is wanted stays the same"


# -- etcd and flannel


def test_etcds_users_are_those_of_the_table_of_rights() -> None:
    assert USERS == {"root": "", "kube-apiserver-etcd-client": "", "flannel": "/coreos.com/network/"}
    assert {user: role_of(user) for user in USERS} == {
        "root": ROOT,
        "kube-apiserver-etcd-client": ROOT,
        "flannel": "flannel",
    }
    assert len(USERS) == len([right for right in RIGHTS.values() if right is not None])


def _config(context: Context) -> dict[str, object]:
    (task,) = ROLE["etcd_users"].desired(context).tasks
    found: dict[str, object] = json.loads(task.evidence[facts.NETWORK])
    return found


def _flannel(hosts: Mapping[str, Observed]) -> object:
    made = scenario("lab")
    return _config(dataclasses.replace(made.context("m1"), together=together(made.plan, hosts)))["EnableNFTables"]


EL10 = recorded("almalinux10-enforcing")
NFTABLES = {**ANSWERS, facts.NETWORK: '{"Network": "10.244.0.0/16", "EnableNFTables": true}'}


def test_flannel_uses_nftables_when_any_node_has_no_iptables() -> None:
    assert _flannel(_hosts()) is False
    assert _flannel({**_hosts(), "w2": EL10}) is True


def test_flannels_mode_stays_while_a_host_is_left_out_that_may_need_it() -> None:
    without = {name: host for name, host in _hosts(m1=NFTABLES).items() if name != "w2"}
    assert _flannel(without) is True
    assert _flannel(_hosts(m1=NFTABLES)) is False, "all are there, and none needs it"


@pytest.mark.parametrize("said", ["", "no JSON", "null", "[]", '{"Network": ""}', '{"EnableNFTables": "yes"}'])
def test_flannels_configuration_without_a_mode_means_no_nftables(said: str) -> None:
    without = {name: host for name, host in _hosts(m1={facts.NETWORK: said}).items() if name != "w2"}
    assert _flannel(without) is False


def test_the_specs_mode_is_flannels_too() -> None:
    made = scenario("lab")
    plan = dataclasses.replace(made.plan, proxy_mode="nftables")
    context = dataclasses.replace(made.context("m1"), plan=plan, together=Together(member="m1"))
    assert _config(context)["EnableNFTables"] is True
