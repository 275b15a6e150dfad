"""Objects in the cluster that no task wants any more: which are removed, and which never are."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence
from pathlib import Path

import pytest

from deploy.waves import ROLES
from kubewright.hosts.script import stage
from kubewright.observe import facts
from kubewright.observe.objects import KINDS, TASK, Listed, Ref
from kubewright.observe.observed import Observed
from kubewright.plan import leftovers, saved
from kubewright.plan.changes import all_changes
from kubewright.plan.cluster_tasks import cluster_task
from kubewright.plan.context import Context
from kubewright.plan.desired import ClusterTask, Desired
from kubewright.plan.role import Role, on_every_host
from kubewright.plan.together import together
from kubewright.releases.systems import system_of
from kubewright.verbs.users import manifests
from roles.coredns.news import manifest as news
from tests.support.scenarios import WIDENED, scenario

LAB = scenario("lab")
WANTED = Ref(kind="ConfigMap", namespace="kube-system", name="wanted")
OLD = Ref(kind="ConfigMap", namespace="kube-system", name="old")
TASKS = (cluster_task("x", "apply x", b"kind: ConfigMap\nmetadata: {name: wanted, namespace: kube-system}\n"),)


def _listed(ref: Ref, task: str = "x", *, owned: bool = True) -> Listed:
    return Listed(ref=ref, uid=f"uid of {ref.name}", task=task, applied="ab", owned=owned)


def _context(*listed: Listed, host: str = "m1") -> Context:
    return _seen(LAB.context(host), listed)


def _seen(context: Context, listed: Sequence[Listed]) -> Context:
    said = {**context.observed.facts, **facts.read(tuple(listed), (), (), None)}
    return dataclasses.replace(context, observed=dataclasses.replace(context.observed, facts=said, objects=tuple(listed)))


def _role(wanted: Desired) -> Role:
    return Role(name="x", runs_on=on_every_host, desired=lambda _context: wanted)


def _last(context: Context, wanted: Desired | None = None) -> Desired:
    return leftovers.everything((_role(wanted or Desired(tasks=TASKS)),), context)["leftovers"]


def _sentences(context: Context, wanted: Desired | None = None) -> tuple[str, ...]:
    everything = leftovers.everything((_role(wanted or Desired(tasks=TASKS)),), context)
    return all_changes(everything, context.observed)["leftovers"].sentences()


def test_an_object_that_no_task_wants_is_removed_and_the_plan_names_it() -> None:
    role = Ref(kind="ClusterRole", name="old:role")
    context = _context(_listed(WANTED), _listed(OLD), _listed(role))
    assert _sentences(context) == ("remove ConfigMap kube-system/old", "remove ClusterRole old:role")


def test_a_cluster_with_exactly_the_wanted_objects_has_nothing_to_remove() -> None:
    assert _last(_context(_listed(WANTED))).tasks == ()
    assert _last(_context(_listed(WANTED, task="another"))).tasks == (), "it is wanted, whatever its label says"


def test_the_label_of_a_task_that_nobody_knows_is_still_kubewrights() -> None:
    assert _sentences(_context(_listed(OLD, task="of an older version"))) == ("remove ConfigMap kube-system/old",)


def test_an_object_of_a_wanted_ones_name_in_another_namespace_is_not_wanted() -> None:
    elsewhere = dataclasses.replace(WANTED, namespace="apps")
    assert _sentences(_context(_listed(WANTED), _listed(elsewhere))) == ("remove ConfigMap apps/wanted",)


def test_what_kubewright_did_not_apply_stays() -> None:
    """A copy with the label, or an object that somebody is deleting: see `objects.read`."""
    assert _sentences(_context(_listed(OLD, owned=False))) == ()


@pytest.mark.parametrize("kind", [kind for kind, row in KINDS.items() if row.kept])
def test_some_kinds_are_never_removed(kind: str) -> None:
    assert _sentences(_context(_listed(Ref(kind=kind, name="old")))) == ()


def test_a_service_range_is_never_removed_nor_is_a_kind_that_holds_other_peoples_data() -> None:
    removed = {kind for kind, row in KINDS.items() if not row.kept}
    assert not removed & {"ServiceCIDR", "Namespace", "CustomResourceDefinition", "PersistentVolume", "PersistentVolumeClaim"}


def test_one_host_alone_removes() -> None:
    assert [n.name for n in LAB.plan.nodes if _last(_context(_listed(OLD), host=n.name)).tasks] == ["m1"]


def test_roles_that_want_no_object_at_all_remove_none() -> None:
    """Every cluster wants its first binding, so those are not all of its roles."""
    assert _last(_context(_listed(OLD)), Desired(tasks=(ClusterTask(title="", content=b"", apply="", evidence={}),))).tasks == ()


# -- an unknown task is not an unwanted one


def test_objects_of_a_task_that_is_undecided_stay_and_others_go() -> None:
    other = dataclasses.replace(OLD, name="other")
    context = _context(_listed(OLD, task="lineage"), _listed(other))
    wanted = Desired(tasks=TASKS, undecided=("lineage",))
    assert _sentences(context, wanted) == ("remove ConfigMap kube-system/other",)


def _all(context: Context) -> dict[str, Desired]:
    return {role.name: role.desired(context) for role in ROLES if role.runs_on(context.node)}


def _objects(context: Context) -> tuple[Listed, ...]:
    """All that the roles want there, as the API lists it."""
    return tuple(
        _listed(ref, task=name) for name, desired in _all(context).items() for task in desired.tasks for ref in task.objects
    )


def _removed(context: Context) -> tuple[Ref | str, ...]:
    return tuple(ref for task in leftovers.everything(ROLES, context)["leftovers"].tasks for ref in task.removes)


def test_the_record_of_the_cluster_stays_while_it_is_unknown() -> None:
    known = dataclasses.replace(LAB.context("m1"), lineage=WIDENED)
    objects = _objects(known)
    record = Ref(kind="ConfigMap", namespace="kube-system", name="kubewright")
    assert record in {found.ref for found in objects}
    assert _removed(_seen(known, objects)) == ()
    assert _removed(_seen(LAB.context("m1"), objects)) == ()


def test_a_role_whose_objects_depend_on_something_unknown_says_so() -> None:
    known, unknown = dataclasses.replace(LAB.context("m1"), lineage=WIDENED), LAB.context("m1")
    wanted = {found.task for found in _objects(known)}
    decided = {found.task for found in _objects(unknown)}
    assert wanted - decided == {name for desired in _all(unknown).values() for name in desired.undecided}


@pytest.mark.parametrize("absent", [*itertools.combinations(("m1", "m2", "m3", "w1", "w2"), 1), ("m1", "w1"), ("m2", "w1", "w2")])
def test_hosts_that_are_left_out_change_nothing_about_the_wanted_objects(absent: tuple[str, ...]) -> None:
    objects = _objects(dataclasses.replace(LAB.context("m1"), lineage=WIDENED))
    there = {n.name: LAB.observed(n.name) for n in LAB.plan.nodes if n.name not in absent}
    plan = dataclasses.replace(LAB.plan, absent=frozenset(absent))
    for name in there:
        context = dataclasses.replace(LAB.context(name), plan=plan, together=together(plan, there), lineage=WIDENED)
        assert _removed(_seen(context, objects)) == (), name


def test_an_api_that_does_not_list_all_kinds_removes_nothing() -> None:
    context = LAB.context("m1")
    assert context.observed.objects == ()
    assert _removed(context) == ()


@pytest.mark.parametrize("name", ["single", "ha", "vagrant", "el10"])
def test_in_every_example_the_host_that_acts_wants_all_objects(name: str) -> None:
    made = scenario(name)
    contexts = {n.name: dataclasses.replace(made.context(n.name), lineage=WIDENED) for n in made.plan.nodes}
    acting = [host for host, context in contexts.items() if _objects(context)]
    assert acting == [made.plan.first_master.name]
    assert {found.task for found in _objects(contexts[acting[0]])} == {"rbac", "service_range", "coredns", "lineage"}


def test_objects_of_other_verbs_do_not_have_the_label() -> None:
    """`verify` makes Services, and `user add` makes bindings; each removes its own."""
    assert TASK not in news("x")
    assert TASK not in {*manifests.MANAGED, manifests.USER, manifests.ID}


# -- how


def test_objects_go_in_the_reverse_order_of_their_need_in_one_call_with_their_uids() -> None:
    refs = [Ref(kind=k, namespace="a" if row.namespaced else "", name="old") for k, row in KINDS.items() if not row.kept]
    (task,) = _last(_context(*map(_listed, refs))).tasks
    assert list(task.removes) == refs[::-1]
    assert task.apply.count("curl ") == 1
    requests = task.content.decode().split("\nnext\n")
    assert len(requests) == len(refs)
    assert all('\\"uid\\": \\"uid of old\\"' in request and 'request = "DELETE"' in request for request in requests)
    assert 'url = "https://127.0.0.1:6443/api/v1/namespaces/a/serviceaccounts/old"' in requests[-1]


@pytest.mark.parametrize(
    ("ref", "path"),
    [
        (Ref(kind="ClusterRole", name="system:a"), "/apis/rbac.authorization.k8s.io/v1/clusterroles/system%3Aa"),
        (Ref(kind="ClusterRole", name='a"b c\\[]{}'), "/apis/rbac.authorization.k8s.io/v1/clusterroles/a%22b%20c%5C%5B%5D%7B%7D"),
        (Ref(kind="Deployment", namespace="n", name="d"), "/apis/apps/v1/namespaces/n/deployments/d"),
    ],
)
def test_names_are_quoted_in_addresses(ref: Ref, path: str) -> None:
    assert ref.path == path


def test_removal_comes_after_everything_else_of_the_run_and_is_due_until_the_objects_are_gone() -> None:
    context = _context(_listed(OLD))
    everything = leftovers.everything((_role(Desired(tasks=TASKS)),), context)
    assert list(everything)[-1] == "leftovers"
    system = system_of("debian", "12")
    assert system is not None
    staged = stage(all_changes(everything, context.observed)["leftovers"], system, lambda _file: b"").files
    assert "sh -eu do.0" in staged["act.sh"].decode()
    gone = dataclasses.replace(context.observed, facts={facts.API: "answers"})
    assert not all_changes(everything, gone)["leftovers"].tasks


def test_a_saved_plan_holds_what_it_removes(tmp_path: Path) -> None:
    (tmp_path / "cluster.yaml").write_text("name: x\n")

    def document(*listed: Listed) -> dict[str, object]:
        context = _context(*listed)
        everything = leftovers.everything((_role(Desired(tasks=TASKS)),), context)
        observed: Observed = context.observed
        return saved.document(
            tmp_path / "cluster.yaml", tmp_path / "none", {}, {"m1": observed}, {"m1": all_changes(everything, observed)}
        )

    then, other = document(_listed(OLD)), dataclasses.replace(OLD, name="other")
    moved = ["m1: work in the cluster: remove the objects that no task wants"]
    assert saved.moved(then, document(_listed(OLD))) == []
    assert saved.moved(then, document(_listed(OLD), _listed(other))) == moved
    assert saved.moved(then, document()) == moved
    again = dataclasses.replace(_listed(OLD), uid="of a new object of that name")
    assert [line.partition(" (")[0] for line in saved.moved(then, document(again))] == ["m1: what is to be done"]
