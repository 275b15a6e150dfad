"""kube2sky: only where the DNS provider is skydns, with certificates and rights of its own."""

from __future__ import annotations

import dataclasses

import pytest
from ruamel.yaml import YAML

from deploy.waves import CLUSTER, ROLES
from kubewright.artifacts.recipes import recipe_for
from kubewright.model.certificates import ROWS
from kubewright.model.etcd_rights import RIGHTS, way_of
from kubewright.plan import leftovers
from kubewright.releases import DEFAULT
from roles.kube2sky.flags import LEASE
from roles.kube2sky.role import ROLE, UNIT
from roles.kube2sky_rights.role import manifest
from tests.support.scenarios import NAMES, scenario


@pytest.mark.parametrize("name", NAMES)
def test_it_runs_on_masters_where_the_provider_is_skydns_and_nowhere_else(name: str) -> None:
    plan = scenario(name).plan
    assert [n.name for n in plan.nodes if ROLE.runs_on(n)] == ([n.name for n in plan.masters] if plan.has_skydns else [])


def test_it_serves_before_coredns_reads_etcd_and_after_it_has_its_rights() -> None:
    order = [one.title for one in CLUSTER]
    assert order.index("etcd_users") < order.index("kube2sky_rights") < order.index("kube2sky") < order.index("coredns")


def test_after_a_switch_to_coredns_its_unit_and_files_are_removed_last() -> None:
    before = scenario("skydns")
    roles = {role.name: role for role in ROLES}
    there = leftovers.wanted([ROLE.desired(before.context("m1"))])
    lab = scenario("lab")
    observed = dataclasses.replace(lab.observed("m1"), installed=tuple(there))
    found = leftovers.everything(ROLES, lab.context("m1", observed))
    assert list(found)[-1] == "leftovers" and "kube2sky" in roles and "kube2sky" not in found
    (removing,) = found["leftovers"].late
    for line in (f"systemctl disable -q --now {UNIT}", "/etc/kube2sky/pki/etcd.key", "/usr/local/bin/kube2sky"):
        assert line in removing.apply, line


def test_its_unit_is_ready_when_etcd_has_every_name_and_holds_no_capability() -> None:
    desired = ROLE.desired(scenario("skydns").context("m1"))
    (unit,) = desired.units
    assert unit.ready.endswith("http://127.0.0.1:10253/readyz")
    (file,) = [f for f in desired.files if f.path.endswith(UNIT)]
    assert isinstance(file.content, bytes)
    assert b"CapabilityBoundingSet=\n" in file.content and b"--domain=cluster.local" in file.content


def test_its_certificate_for_etcd_writes_the_records_only_and_that_of_coredns_reads_them() -> None:
    assert RIGHTS["kube2sky-etcd"] == RIGHTS["coredns-etcd"] == "/skydns/"
    assert way_of(ROWS["kube2sky-etcd"].common_name) == "readwrite"
    assert way_of(ROWS["coredns-etcd"].common_name) == "read"


def test_it_reads_services_and_endpointslices_and_updates_its_own_lease() -> None:
    rules = [rule for each in YAML(typ="safe").load_all(manifest()) for rule in each.get("rules", ())]
    assert [(rule["resources"], rule["verbs"], rule.get("resourceNames")) for rule in rules] == [
        (["services"], ["list", "watch"], None),
        (["endpointslices"], ["list", "watch"], None),
        (["leases"], ["create"], None),
        (["leases"], ["get", "update"], [LEASE]),
    ]


def test_it_is_built_from_its_own_files_and_a_change_of_one_is_another_build() -> None:
    recipe = recipe_for("kube2sky", DEFAULT.kube2sky)
    names = [name for name, _ in recipe.sources]
    assert {"main.go", "render.go", "follow.go"} <= set(names) and recipe.modules[0][0] == "k8s.io/client-go"
    changed = dataclasses.replace(recipe, sources=(*recipe.sources[:-1], (names[-1], "package main")))
    assert changed.digest != recipe.digest
