"""A workgroup's objects, and what `verify` says when the cluster differs."""

from __future__ import annotations

import copy
import dataclasses
import json
from typing import Any

import pytest

from kubewright.model.build import make_plan
from kubewright.observe.objects import Listed, Ref
from kubewright.verbs.apply import kept_namespaces
from roles.workgroups.objects import objects
from roles.workgroups.role import ROLE
from tests.support.recorded import PLAN, saying, why_not
from tests.support.scenarios import scenario, spec_of

SPEC = """
name: prod
hosts: [{name: m1, address: 192.0.2.11, roles: [master]}]
workgroups:
- name: team-a
  pod_security: restricted
  quota: {cpu: 4, memory: 8Gi, pods: "20"}
  limits: {default: {cpu: 500m}, default_request: {cpu: 100m}, max: {cpu: 1}}
  people: {alice: admin, carol: edit, bob: edit}
- {name: team-b}
"""
GROUPS = make_plan(spec_of(SPEC)).workgroups


def test_the_objects_of_a_workgroup() -> None:
    namespace, quota, limits, admins, editors = objects(GROUPS[0])
    assert namespace["metadata"]["labels"] == {
        "pod-security.kubernetes.io/enforce": "restricted",
        "pod-security.kubernetes.io/enforce-version": "latest",
        "pod-security.kubernetes.io/warn": "restricted",
        "pod-security.kubernetes.io/warn-version": "latest",
        "pod-security.kubernetes.io/audit": "restricted",
        "pod-security.kubernetes.io/audit-version": "latest",
    }
    assert quota["spec"] == {"hard": {"cpu": "4", "memory": "8Gi", "pods": "20"}}
    assert limits["spec"]["limits"] == [
        {"type": "Container", "default": {"cpu": "500m"}, "defaultRequest": {"cpu": "100m"}, "max": {"cpu": "1"}}
    ]
    assert (admins["roleRef"]["name"], [s["name"] for s in admins["subjects"]]) == ("admin", ["alice"])
    assert (editors["roleRef"]["name"], [s["name"] for s in editors["subjects"]]) == ("edit", ["bob", "carol"])
    assert {s["kind"] for s in admins["subjects"]} == {"User"}


def test_a_workgroup_with_nothing_but_a_name_is_a_namespace_of_the_level_baseline() -> None:
    (namespace,) = objects(GROUPS[1])
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "baseline"


def test_each_workgroup_is_a_task_and_none_without_workgroups() -> None:
    context = scenario("lab").context("m1")
    assert ROLE.desired(context).tasks == ()
    plan = dataclasses.replace(context.plan, workgroups=GROUPS)
    tasks = ROLE.desired(dataclasses.replace(context, plan=plan)).tasks
    assert [task.title for task in tasks] == ["apply the workgroup team-a", "apply the workgroup team-b"]
    assert str(tasks[0].objects[0]) == "Namespace team-a"
    other = dataclasses.replace(scenario("lab").context("m2"), plan=plan)
    assert ROLE.desired(other).tasks == ()


def test_a_namespace_whose_workgroup_left_cluster_yaml_is_named() -> None:
    def listed(name: str, *, task: str = "workgroups", owned: bool = True) -> Listed:
        return Listed(ref=Ref(kind="Namespace", name=name), uid="u", task=task, applied="x", owned=owned)

    found = (listed("team-a"), listed("left"), listed("addon", task="addons"), listed("copy", owned=False))
    plan = dataclasses.replace(PLAN, workgroups=GROUPS)
    assert kept_namespaces(plan, [dataclasses.replace(scenario("lab").host, objects=found)]) == ("left",)


# -- verify


def _as_the_api_lists(changed: Any = None) -> str:
    """With defaults and quantities in the API's form."""
    items = copy.deepcopy([one for group in GROUPS for one in objects(group)])
    for item in items:
        item["metadata"]["labels"] = {**item["metadata"].get("labels", {}), "kubewright/task": "workgroups"}
        if item["kind"] == "ResourceQuota":
            item["status"] = {"hard": {}}
        if item["kind"] == "LimitRange":
            item["spec"]["limits"][0]["max"]["cpu"] = "1000m"
    if changed:
        changed(items)
    return json.dumps({"items": items})


def _said(changed: Any = None) -> str:
    plan = dataclasses.replace(PLAN, workgroups=GROUPS)
    return why_not(ROLE.checks, "namespaces", saying(_as_the_api_lists(changed)), plan=plan)


def test_workgroups_as_the_api_lists_them_hold() -> None:
    assert not _said()


def _another_quota(items: list[dict[str, Any]]) -> None:
    items[1]["spec"]["hard"]["pods"] = "200"


def _another_level(items: list[dict[str, Any]]) -> None:
    items[0]["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] = "privileged"


def _another_person(items: list[dict[str, Any]]) -> None:
    items[3]["subjects"].append({"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "mallory"})


def _deleted(items: list[dict[str, Any]]) -> None:
    items[5]["metadata"]["deletionTimestamp"] = "2026-11-21T10:00:00Z"


def _no_binding(items: list[dict[str, Any]]) -> None:
    del items[4]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (_another_quota, "ResourceQuota team-a/workgroup differs from cluster.yaml"),
        (_another_level, "Namespace team-a has pod-security.kubernetes.io/enforce=privileged, not restricted"),
        (_another_person, "RoleBinding team-a/kubewright:workgroup:admin differs from cluster.yaml"),
        (_deleted, "Namespace team-b is being deleted"),
        (_no_binding, "RoleBinding team-a/kubewright:workgroup:edit is missing"),
    ],
)
def test_a_difference_is_named_with_the_way_to_repair_it(changed: Any, said: str) -> None:
    message = _said(changed)
    assert said in message and "annotate KIND NAME -n NAMESPACE kubewright/applied-" in message
