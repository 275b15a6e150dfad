"""Add-ons as a cluster task: values, order, the objects that leave, and the sentences of `plan`."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from kubewright.observe import facts, objects
from kubewright.observe.objects import INDEX, Item, Listed, Ref
from kubewright.plan import addons
from kubewright.plan.addons import Rendered, phase, rendered, substituted, task
from kubewright.plan.changes import changes
from kubewright.plan.cluster_tasks import cluster_task, unwanted
from kubewright.plan.context import Context
from kubewright.plan.desired import ClusterTask, Desired
from kubewright.releases.addons import BUILT_IN
from kubewright.spec import manifests
from kubewright.spec.addons import FOLDER, Addon, Manifests
from roles.addons.role import desired
from tests.support.scenarios import scenario

LAB = scenario("lab")


def body(kind: str, name: str = "a", namespace: str = "demo", version: str = "v1") -> dict[str, Any]:
    metadata = {"name": name, "namespace": namespace} if namespace else {"name": name}
    return {"apiVersion": version, "kind": kind, "metadata": metadata}


def addon(name: str, *bodies: dict[str, Any]) -> Manifests:
    return Manifests(name=name, own=True, text=json.dumps(bodies))


def index(name: str, sha256: str, *items: Item, owned: bool = True) -> Listed:
    ref = Ref(kind="ConfigMap", namespace="kube-system", name=f"{INDEX}{name}")
    return Listed(ref=ref, uid="u", task=f"{INDEX}{name}", applied=sha256, owned=owned, contents=items)


def seen(*listed: Listed, wanted: tuple[Manifests, ...] = (), host: str = "m1") -> Context:
    context = LAB.context(host)
    said = {**context.observed.facts, **facts.read(listed, (), (), None)}
    observed = dataclasses.replace(context.observed, facts=said, objects=listed)
    return dataclasses.replace(context, observed=observed, plan=dataclasses.replace(context.plan, addons=wanted))


def sentences(context: Context) -> tuple[str, ...]:
    return changes(desired(context), context.observed).sentences()


def sha(manifests_: Manifests) -> str:
    return rendered(manifests_, LAB.context("m1"), {}).sha256


MAP = Item(version="v1", kind="ConfigMap", namespace="demo", name="a")
OLD = Item(version="v1", kind="ConfigMap", namespace="demo", name="old")
WIDGET = Item(version="example.org/v1", kind="Widget", namespace="demo", name="w")
SPACE = Item(version="v1", kind="Namespace", name="demo")
MINE = addon("mine", body("ConfigMap"))


def lines(found: ClusterTask, word: str) -> list[str]:
    return [line.removeprefix(f"{word} ") for line in found.content.decode().splitlines() if line.startswith(f"{word} ")]


def only(context: Context) -> ClusterTask:
    (found,) = desired(context).tasks
    return found


def test_a_cluster_without_add_ons_has_no_task() -> None:
    assert desired(seen()) == Desired()


def test_the_list_of_an_index_is_read_and_lines_that_somebody_edited_count_as_none() -> None:
    annotations = {objects.APPLIED: "ab", objects.CONTENTS: f"{MAP}\nnonsense\n{SPACE}\na  b c\n\n"}
    metadata: dict[str, Any] = {"name": "addon-mine", "namespace": "kube-system", "labels": {objects.TASK: "addon-mine"}}
    metadata |= {"annotations": annotations, "managedFields": [{"manager": objects.MANAGER, "operation": "Apply"}]}
    found = objects._listed("ConfigMap", metadata)
    assert found.contents == (MAP, SPACE)
    said = facts.read((found,), (), (), None)
    assert said["add-on mine"] == "ab" and said["ConfigMap demo/a"] == "addon-mine"


def test_another_host_than_the_acting_one_has_no_task() -> None:
    assert desired(seen(wanted=(MINE,), host="m2")) == Desired()


def test_a_new_add_on_is_applied_and_its_index_lists_its_objects() -> None:
    context = seen(wanted=(MINE,))
    assert sentences(context) == ("apply the add-ons mine (missing or changed: add-on mine)",)
    found = only(context)
    assert [json.loads(each.split(" ", 2)[2])["items"][0]["kind"] for each in lines(found, "apply")] == ["ConfigMap"]
    (made,) = lines(found, "index")
    annotations = json.loads(made.partition(" ")[2])["metadata"]["annotations"]
    assert annotations == {objects.APPLIED: sha(MINE), objects.CONTENTS: f"{MAP}\n"}
    assert [objects.item(str(each)) for each in (MAP, WIDGET, SPACE)] == [MAP, WIDGET, SPACE]


def test_an_applied_add_on_is_a_no_op() -> None:
    assert sentences(seen(index("mine", sha(MINE), MAP), wanted=(MINE,))) == ()


def test_an_add_on_that_has_only_begun_is_due_again() -> None:
    assert sentences(seen(index("mine", "begun", MAP), wanted=(MINE,))) == (
        "apply the add-ons mine (missing or changed: add-on mine)",
    )


def test_an_object_that_leaves_is_removed_and_its_index_forgets_it_last() -> None:
    context = seen(index("mine", "old", MAP, OLD, WIDGET), wanted=(MINE,))
    assert sentences(context) == (
        "apply the add-ons mine (missing or changed: add-on mine)",
        "remove ConfigMap demo/old",
        "remove Widget.example.org demo/w",
    )
    found = only(context)
    assert lines(found, "remove") == [f"mine {WIDGET}", f"mine {OLD}"], "the last one applied first"
    (begun,) = lines(found, "begin")
    assert str(OLD) in begun and "begun" in begun, "a run that is killed forgets nothing"


def test_an_add_on_that_nobody_wants_is_removed_with_its_index_and_a_custom_resource_is_no_error() -> None:
    context = seen(index("mine", "old", SPACE, MAP, WIDGET))
    assert sentences(context) == (
        "remove ConfigMap demo/a",
        "remove Widget.example.org demo/w",
        "remove ConfigMap kube-system/addon-mine",
        "leave Namespace demo, which may hold other people's data; kubewright never removes it",
    )
    assert lines(only(context), "forget") == ["mine v1 ConfigMap kube-system addon-mine"]


@pytest.mark.parametrize("kind", sorted(addons.KEPT))
def test_a_kind_that_may_hold_other_peoples_data_is_never_removed(kind: str) -> None:
    item = Item(version="v1", kind=kind, name="x")
    context = seen(index("mine", "old", MAP, item), wanted=(MINE,))
    assert not lines(only(context), "remove")
    assert f"leave {kind} x, which may hold other people's data; kubewright never removes it" in sentences(context)


def test_an_object_that_moves_to_another_add_on_stays() -> None:
    context = seen(index("gone", "x", MAP), wanted=(MINE,))
    assert not lines(only(context), "remove") and lines(only(context), "forget") == ["gone v1 ConfigMap kube-system addon-gone"]


def test_another_version_of_a_kind_is_the_same_object() -> None:
    context = seen(index("mine", "old", dataclasses.replace(MAP, version="v1")), wanted=(addon("mine", body("ConfigMap")),))
    assert not lines(only(context), "remove")
    beta = Item(version="example.org/v1beta1", kind="Widget", namespace="demo", name="w")
    wanted = addon("mine", body("Widget", "w", version="example.org/v1"))
    assert not lines(only(seen(index("mine", "old", beta), wanted=(wanted,))), "remove")


def test_an_object_whose_manifest_names_the_namespace_default_by_now_is_the_same_object() -> None:
    lacks = dataclasses.replace(WIDGET, namespace="")
    context = seen(index("mine", "old", lacks), wanted=(addon("mine", body("Widget", "w", "default", "example.org/v1")),))
    assert not lines(only(context), "remove")


def test_an_index_that_somebody_else_made_removes_nothing() -> None:
    assert desired(seen(index("mine", "old", MAP, owned=False))) == Desired()


@pytest.mark.parametrize(
    ("kind", "namespace", "name", "task"),
    [
        ("ConfigMap", "demo", "addon-mine", "addon-mine"),
        ("ConfigMap", "kube-system", "other", "addon-mine"),
        ("ConfigMap", "kube-system", "mine", "mine"),
        ("ServiceAccount", "kube-system", "addon-mine", "addon-mine"),
    ],
    ids=["another namespace", "another name", "another task", "another kind"],
)
def test_an_object_that_only_looks_like_an_index_is_none(kind: str, namespace: str, name: str, task: str) -> None:
    ref = Ref(kind=kind, namespace=namespace, name=name)
    forged = Listed(ref=ref, uid="u", task=task, applied=sha(MINE), owned=True, contents=(OLD,))
    assert desired(seen(forged)) == Desired(), "it removes nothing"
    context = seen(forged, wanted=(MINE,))
    assert not lines(only(context), "remove")
    assert sentences(context) == ("apply the add-ons mine (missing or changed: add-on mine)",), "it hides no work"
    assert str(OLD.ref) not in context.observed.facts


def test_the_objects_that_the_index_lacks_are_looked_for_first_except_kinds_that_are_never_removed() -> None:
    mine = addon("mine", body("ConfigMap"), body("Namespace", "demo", ""), body("Widget", "w", version="example.org/v1"))
    metadata = '"metadata": {"name": "%s", "namespace": "demo"}'
    widget = f'mine example.org Widget {{"apiVersion": "example.org/v1", "kind": "Widget", {metadata % "w"}}}'
    new = [f'mine - ConfigMap {{"apiVersion": "v1", "kind": "ConfigMap", {metadata % "a"}}}', widget]
    assert lines(only(seen(wanted=(mine,))), "new") == new
    assert lines(only(seen(index("mine", "old", MAP), wanted=(mine,))), "new") == [widget]
    assert lines(only(seen(index("other", "old", MAP), wanted=(mine,))), "new") == new, "another add-on's index"


def test_only_the_due_add_ons_are_applied() -> None:
    other = addon("other", body("ConfigMap", "b"))
    context = seen(index("mine", sha(MINE), MAP), wanted=(MINE, other))
    assert lines(only(context), "addon") == ["other"]
    assert sentences(context) == ("apply the add-ons other (missing or changed: add-on other)",)


def test_the_index_of_an_add_on_is_not_removed_as_an_object_that_no_task_wants() -> None:
    context = seen(index("mine", sha(MINE), MAP), index("gone", "x", OLD), wanted=(MINE,))
    first = cluster_task("x", "x", b"kind: ConfigMap\nmetadata: {name: wanted, namespace: kube-system}\n")
    assert unwanted([Desired(tasks=(first, *desired(context).tasks))], context) == ()


def test_an_object_that_moves_to_an_add_on_from_another_task_is_not_removed_as_one_that_no_task_wants() -> None:
    def of(name: str) -> Listed:
        ref = Ref(kind="ResourceQuota", namespace="team", name=name)
        return Listed(ref=ref, uid="u", task="workgroups", applied="x", owned=True)

    mine = addon("mine", body("ResourceQuota", "moves", "team"), body("Widget", "moves", "team", "example.org/v1"))
    context = seen(of("moves"), of("stays behind"), wanted=(mine,))
    assert [found.ref.name for found in unwanted([desired(context)], context)] == ["stays behind"]


def test_without_an_answer_of_the_api_the_script_refuses() -> None:
    context = seen(wanted=(MINE,))
    said = {about: value for about, value in context.observed.facts.items() if about != facts.API}
    context = dataclasses.replace(context, observed=dataclasses.replace(context.observed, facts=said))
    assert only(context).content.startswith(b"unknown\n")


def test_objects_are_applied_in_the_order_in_which_they_need_each_other() -> None:
    crd = body("CustomResourceDefinition", "w", "", "apiextensions.k8s.io/v1")
    mixed = addon(
        "mine",
        body("Widget", version="example.org/v1"),
        body("APIService", "x", "", "apiregistration.k8s.io/v1"),
        body("Deployment", version="apps/v1"),
        body("Role", version="rbac.authorization.k8s.io/v1"),
        body("ServiceAccount"),
        crd,
        body("Namespace", "demo", ""),
    )
    found = rendered(mixed, LAB.context("m1"), {})
    assert [each["kind"] for each in found.objects] == [
        "Namespace", "CustomResourceDefinition", "ServiceAccount", "Role", "Deployment", "APIService", "Widget",
    ]  # fmt: skip
    assert [phase(each) for each in found.objects] == [1, 1, 2, 2, 2, 2, 3]
    content = only(seen(wanted=(mixed,)))
    assert lines(content, "wait") == ["mine Deployment demo a", "mine APIService - x"]
    assert lines(content, "crd") == ["mine w"]


def test_a_daemon_set_is_not_waited_for_when_a_host_is_left_out() -> None:
    context = seen(wanted=(addon("mine", body("DaemonSet", version="apps/v1"), body("Deployment", version="apps/v1")),))
    absent = dataclasses.replace(context, plan=dataclasses.replace(context.plan, absent=frozenset({"w1"})))
    assert lines(only(absent), "wait") == ["mine Deployment demo a"]


@pytest.mark.parametrize("kind", ["DaemonSet", "StatefulSet"])
def test_pods_that_only_people_replace_are_not_waited_for(kind: str) -> None:
    def waits(spec: Any) -> list[str]:
        return lines(only(seen(wanted=(addon("mine", {**body(kind, version="apps/v1"), "spec": spec}),))), "wait")

    assert waits({"updateStrategy": {"type": "OnDelete"}}) == []
    for spec in ({}, {"updateStrategy": {"type": "RollingUpdate"}}, {"updateStrategy": None}, None, "text"):
        assert waits(spec) == [f"mine {kind} demo a"], spec


def test_a_value_replaces_text_and_cannot_change_the_structure() -> None:
    known = {"n": 3, "s": "a: b\n- c", "list": ["x"]}
    assert substituted({"a": "${n}", "b": "x${n}y", "c": ["${s}"], "d": "${list}", "e": 1}, known) == {
        "a": 3, "b": "x3y", "c": ["a: b\n- c"], "d": ["x"], "e": 1,
    }  # fmt: skip


def test_an_unknown_value_is_an_error() -> None:
    with pytest.raises(KeyError):
        substituted({"a": "${none}"}, {})


def test_a_users_manifests_are_not_changed_but_for_a_label() -> None:
    found = rendered(addon("mine", {**body("ConfigMap"), "data": {"a": "${home}"}}), LAB.context("m1"), {})
    assert found.objects[0]["data"] == {"a": "${home}"}
    assert found.objects[0]["metadata"]["labels"] == {objects.ADDON: "mine"}


@pytest.mark.parametrize("name", BUILT_IN)
def test_a_built_in_add_on_has_all_its_values(name: str) -> None:
    context = seen(wanted=(manifests.of(Addon(name=name, folder=FOLDER / name, own=False)),))
    text = only(context).content.decode()
    assert "${" not in text
    for image in BUILT_IN[name].images:
        assert context.bundle.image(image).reference in text


def test_the_metrics_servers_certificate_is_verified_both_ways() -> None:
    text = only(seen(wanted=(manifests.of(Addon(name="metrics-server", folder=FOLDER / "metrics-server", own=False)),)))
    content = text.content.decode()
    assert "insecure" not in content.lower()
    assert '"caBundle": "' in content and "--kubelet-certificate-authority=" in content


def test_the_sum_depends_on_the_content_alone() -> None:
    one, two = Rendered(name="a", objects=(body("ConfigMap"),)), Rendered(name="a", objects=(body("ConfigMap", "b"),))
    assert one.sha256 != two.sha256
    assert task((), LAB.context("m1")) is None
