"""A plan may give nodes different releases: that is what one step of an upgrade is."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path

import pytest

from deploy.waves import CLUSTER, ROLES
from kubewright.model.cluster import Plan
from kubewright.releases import DEFAULT, Release, release_for
from kubewright.run import run as engine
from kubewright.run.run import Run
from kubewright.run.session import Session
from tests.support.fleet import FakeHost
from tests.support.scenarios import fake_bundle, inventory, scenario

BEFORE = release_for("1.37.0")


def _mixed(plan: Plan, *old: str) -> Plan:
    nodes = tuple(dataclasses.replace(n, release=BEFORE) if n.name in old else n for n in plan.nodes)
    return dataclasses.replace(plan, nodes=nodes)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Checked: m1 and w1 are to keep the release before."""
    monkeypatch.setattr(engine, "obtain_all", lambda release, *_a, **_k: fake_bundle(release))
    session = Session(inventory=tmp_path, spec=inventory("lab"), roles=ROLES)
    session.plan = _mixed(session.plan, "m1", "w1")
    made = scenario("lab")
    for node in session.plan.nodes:
        state = dataclasses.replace(made.observed(node.name), clock=time.time())
        session.hosts[node.name] = FakeHost(name=node.name, state=state, log=[])
    found = Run(session=session, waves=CLUSTER)
    session.observe_all()
    found.check()
    return found


def test_each_node_gets_the_binaries_of_its_own_release(run: Run) -> None:
    kubelets = {name: run.context(name).payload("kubelet").path.split("/")[4].partition("-")[0] for name in run.hosts}
    assert kubelets == {"m1": "1.37.0", "m2": "1.37.1", "m3": "1.37.1", "w1": "1.37.0", "w2": "1.37.1"}


def test_a_bundle_is_obtained_once_for_each_release_and_architecture(run: Run) -> None:
    assert sorted(run.bundles) == [("1.37.0", "amd64"), ("1.37.1", "amd64")]


def test_a_kubelet_is_ready_at_the_version_of_its_own_node(run: Run) -> None:
    kubelet = next(role for role in ROLES if role.name == "kubelet")
    for name, version in (("w1", "v1.37.0"), ("w2", "v1.37.1")):
        (unit,) = kubelet.desired(run.context(name)).units
        assert f"version={version} " in unit.ready


def test_without_an_upgrade_every_node_has_the_release_of_cluster_yaml() -> None:
    releases: set[Release] = {node.release for node in scenario("lab").plan.nodes}
    assert releases == {DEFAULT}
