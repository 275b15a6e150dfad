"""Cluster tasks: what the cluster must show for one to be done, who does it, and what is said of it."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from deploy.waves import ROLES
from kubewright.hosts.script import stage
from kubewright.model.cluster import Plan
from kubewright.model.etcd_rights import RIGHTS, ROOT, USERS, role_of, users_of, way_of
from kubewright.observe import facts
from kubewright.observe.live import Api, LiveNode
from kubewright.observe.objects import APPLIED, KINDS, Listed, read
from kubewright.observe.objects import TASK as TASK_LABEL
from kubewright.observe.observed import Observed
from kubewright.plan import leftovers
from kubewright.plan.changes import changes
from kubewright.plan.cluster_tasks import cluster_task
from kubewright.plan.context import Context
from kubewright.plan.desired import ClusterTask, Desired
from kubewright.plan.together import Together, together
from kubewright.releases.systems import system_of
from tests.support.hosts import carried_out, fresh
from tests.support.scenarios import WIDENED, recorded, scenario

TASK = ClusterTask(title="apply x", content=b"x", apply="true", evidence={"A": "1", "B": "2"})
ROLE = {role.name: role for role in ROLES}
WORKING = ("rbac", "nodes", "coredns", "etcd_users")


def _seen(said: Mapping[str, str]) -> Observed:
    return dataclasses.replace(fresh(), facts=said)


def _sentences(said: Mapping[str, str], *tasks: ClusterTask) -> tuple[str, ...]:
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
    many = ClusterTask(title="apply x", content=b"", apply="", evidence={str(i): "" for i in range(150)})
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


def _objects(task: ClusterTask) -> list[dict[str, Any]]:
    whole = json.loads(task.content)
    return list(whole["items"] if whole["kind"] == "List" else [whole])


def _with_objects() -> dict[str, ClusterTask]:
    context = dataclasses.replace(scenario("lab").context("m1"), lineage=WIDENED)
    found = {role.name: role.desired(context).tasks for role in ROLES if role.runs_on(context.node)}
    return {name: task for name, (task, *_) in ((n, t) for n, t in found.items() if t) if task.objects}


def test_these_tasks_apply_objects() -> None:
    assert set(_with_objects()) == {"rbac", "service_range", "coredns", "lineage"}


@pytest.mark.parametrize("name", ["rbac", "service_range", "coredns", "lineage"])
def test_every_object_is_marked_and_is_evidence_by_kind_namespace_and_name(name: str) -> None:
    task = _with_objects()[name]
    assert [str(ref) for ref in task.objects] == list(task.evidence)
    for ref, found in zip(task.objects, _objects(task), strict=True):
        metadata = found["metadata"]
        assert (ref.kind, ref.namespace, ref.name) == (found["kind"], metadata.get("namespace", ""), metadata["name"])
        assert KINDS[ref.kind].namespaced == bool(ref.namespace)
        assert metadata["labels"][TASK_LABEL] == name
        assert metadata["annotations"][APPLIED] == task.evidence[str(ref)]


@pytest.mark.parametrize("name", ["rbac", "service_range", "lineage"])
def test_objects_are_applied_by_the_server_in_one_call_under_one_manager(name: str) -> None:
    apply = _with_objects()[name].apply
    assert apply.count('"$new"') == 1
    manager = (
        "fieldManager=kubewright&force=true" if name == "rbac" else "--server-side --force-conflicts --field-manager=kubewright"
    )
    assert manager in apply


def test_the_first_binding_is_made_as_system_masters() -> None:
    """Before it admin.conf may do nothing."""
    apply = _with_objects()["rbac"].apply
    assert "X-Remote-Group: system:masters" in apply
    assert "kubectl" not in apply


def test_an_object_of_the_same_name_in_another_namespace_is_no_evidence() -> None:
    task = cluster_task("t", "apply x", CONFIG_MAP)
    assert _sentences(_facts(_answer(task)), task) == ()
    elsewhere = [dataclasses.replace(o, ref=dataclasses.replace(o.ref, namespace="apps")) for o in _answer(task)]
    assert _sentences(_facts(elsewhere), task) == ("apply x",)


def test_a_cluster_of_the_version_before_has_nothing_to_do() -> None:
    """The evidence is an annotation in the cluster, and its value is the same: the checksum of the manifest."""
    for name, task in _with_objects().items():
        assert _sentences(_facts(_answer(task)), task) == (), name
    assert set(cluster_task("t", "apply x", CONFIG_MAP).evidence.values()) == {hashlib.sha256(CONFIG_MAP).hexdigest()}
    binding = _with_objects()["rbac"].evidence["ClusterRoleBinding kubeadm:cluster-admins"]
    assert binding == "e07453abcb0264c7e0f27e6f70b4ef065cc7f8e49eff36472bd16f519ec5ae13", "as it was; another manifest: another"


CONFIG_MAP = b"kind: ConfigMap\nmetadata: {name: x, namespace: kube-system}\ndata: {a: 1}\n"


def _answer(task: ClusterTask) -> list[Listed]:
    """The API's lists once the task is done, read as they come."""
    lines = []
    for kind, row in KINDS.items():
        items = [{"metadata": o["metadata"]} for o in _objects(task) if o["kind"] == kind]
        lines += [json.dumps({"items": items}), "", f"200 https://127.0.0.1:6443{row.path}?labelSelector=x"]
    return list(read(lines) or ())


def _facts(listed: Sequence[Listed]) -> dict[str, str]:
    return facts.read(tuple(listed), (), (), None)


def test_another_manifest_has_another_sum() -> None:
    other = CONFIG_MAP.replace(b"1", b"2")
    assert cluster_task("t", "apply x", CONFIG_MAP).evidence != cluster_task("t", "apply x", other).evidence


@pytest.mark.parametrize(
    ("kind", "namespace", "said"),
    [("ConfigMap", "", "x: without a namespace"), ("ClusterRole", "kube-system", "x: with a namespace")],
)
def test_a_manifest_says_the_namespace_of_each_object_that_has_one(kind: str, namespace: str, said: str) -> None:
    """kubectl would take `default`, and the evidence would be about another object."""
    with pytest.raises(ValueError, match=said):
        cluster_task("t", "apply x", f"kind: {kind}\nmetadata: {{name: x, namespace: '{namespace}'}}\n".encode())


def test_a_kind_that_is_not_observed_is_refused() -> None:
    with pytest.raises(KeyError, match="Gadget"):
        cluster_task("t", "apply x", b"kind: Gadget\nmetadata: {name: x}\n")


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


@pytest.mark.parametrize(("absent", "pods"), [((), 2), (("m3",), 2), (("m2", "m3", "w1"), 2), (("m2", "m3", "w1", "w2"), 1)])
def test_coredns_has_no_more_pods_than_hosts_that_take_part_and_waits_for_all(absent: tuple[str, ...], pods: int) -> None:
    def task(*left_out: str) -> ClusterTask:
        (found,) = ROLE["coredns"].desired(_context(_without(scenario("lab").plan, *left_out))).tasks
        return found

    (deployment,) = [item for item in json.loads(task(*absent).content)["items"] if item["kind"] == "Deployment"]
    assert deployment["spec"]["replicas"] == pods
    assert "-n kube-system rollout status deployment/coredns" in task(*absent).apply
    assert (task().evidence == task(*absent).evidence) == (pods == 2), "an apply with all hosts makes the others again"


def test_a_switch_without_a_lost_host_is_waited_for() -> None:
    """With the old pod available at once, what the old provider needs would go while its pods serve."""
    plan = dataclasses.replace(scenario("lab").plan, dns_provider="skydns")
    two = dataclasses.replace(plan, nodes=tuple(node for node in plan.nodes if node.name in ("m1", "w1")))
    (task,) = ROLE["coredns"].desired(_context(_without(two, "w1"))).tasks
    assert "rollout status deployment/coredns" in task.apply and "condition=Available" not in task.apply
    (deployment,) = [item for item in json.loads(task.content)["items"] if item["kind"] == "Deployment"]
    assert deployment["spec"]["replicas"] == 1


# -- etcd and flannel


def test_etcds_users_are_those_of_the_table_of_rights() -> None:
    everywhere = {"root": "", "kube-apiserver-etcd-client": "", "flannel": "/coreos.com/network/"}
    assert users_of(scenario("lab").plan) == everywhere
    assert USERS.items() >= {**everywhere, "coredns": "/skydns/"}.items()
    roles = {"root": ROOT, "kube-apiserver-etcd-client": ROOT, "flannel": "flannel", "coredns": "coredns"}
    assert {user: role_of(user) for user in USERS}.items() >= roles.items()
    assert (way_of("coredns"), way_of("flannel")) == ("read", "readwrite")
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
