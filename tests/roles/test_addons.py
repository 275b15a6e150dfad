"""The hosts' part of add-ons: images, certificates and ports, only where and while an add-on needs them."""

from __future__ import annotations

import dataclasses
import functools
import tempfile
from pathlib import Path
from typing import Any

import pytest

from deploy.waves import ROLES
from kubewright.model.build import make_plan
from kubewright.model.certificates import leaves
from kubewright.model.cluster import Plan
from kubewright.plan.changes import changes
from kubewright.plan.context import Context
from kubewright.plan.desired import Desired
from kubewright.plan.places import places
from kubewright.run.preflight import network
from kubewright.run.preflight.cluster import Cluster
from kubewright.spec import loads
from roles.addons.checks import CHECKS
from roles.metrics_server.role import ROLE as METRICS
from tests.support.hosts import carried_out
from tests.support.scenarios import Scenario, fake_bundle, filled_store, recorded

SPEC = """
name: addons
addons: {addons}
hosts:
- {{name: m1, address: 192.0.2.11, roles: [master]}}
- {{name: w1, address: 192.0.2.31, roles: [worker]}}
"""
EVERY = "[metrics-server, traefik, local-path, headlamp]"


def plan_of(addons: str) -> Plan:
    return make_plan(loads(SPEC.format(addons=addons).encode(), folder=Path()))


@functools.cache
def made(addons: str) -> Scenario:
    plan = plan_of(addons)
    with tempfile.TemporaryDirectory() as folder:
        store = filled_store(plan, Path(folder))
        store.key("service-account")
    return Scenario(name="addons", plan=plan, host=recorded("rocky9-enforcing"), store=store, bundle=fake_bundle(plan.release))


def wanted(context: Context) -> dict[str, Desired]:
    return {role.name: role.desired(context) for role in ROLES if role.runs_on(context.node)}


@pytest.mark.parametrize("host", ["m1", "w1"])
def test_everything_planned_is_observed_and_applied_it_is_a_no_op(host: str) -> None:
    scenario, observed = made(EVERY), places(ROLES)
    state = scenario.observed(host)
    for desired in wanted(scenario.context(host)).values():
        for path in (*(f.path for f in (*desired.files, *desired.late)), *(d.path for d in desired.directories)):
            under = any(path == folder or path.startswith(f"{folder}/") for folder in observed.folders)
            assert under or path in observed.alone or path.startswith("/etc/systemd/system/"), path
        state = carried_out(desired, state)
    for name, desired in wanted(scenario.context(host, state)).items():
        assert changes(desired, state).sentences() == (), name


@pytest.mark.parametrize("host", ["m1", "w1"])
def test_images_are_sent_and_imported_only_for_add_ons_of_the_cluster(host: str) -> None:
    def archives(addons: str) -> tuple[set[str], set[str]]:
        found = wanted(made(addons).context(host))
        sent = {Path(p.path).name for p in found["binaries"].payloads if p.path.endswith(".tar")}
        return sent, {Path(f.path).name for f in found["containerd"].late}

    names = {"local-path-provisioner", "local-path-helper", "metrics-server", "traefik"}
    plain, every = archives("[]"), archives(EVERY)
    assert plain == ({"pause.tar", "coredns.tar"}, {"pause", "coredns"})
    assert every == (plain[0] | {f"{name}.tar" for name in names}, plain[1] | names)


def test_only_masters_get_the_metrics_servers_certificate_and_only_with_that_add_on() -> None:
    assert {leaf.name for leaf in leaves(plan_of(EVERY))} - {leaf.name for leaf in leaves(plan_of("[]"))} == {"metrics-server/m1"}
    found = METRICS.desired(made(EVERY).context("m1"))
    assert [(file.path, file.mode, file.owner) for file in found.files] == [
        ("/etc/kubernetes/metrics-server/serving.crt", 0o644, "root"),
        ("/etc/kubernetes/metrics-server/serving.key", 0o600, "root"),
    ]


def test_the_firewall_opens_the_ports_of_add_ons_to_their_clients() -> None:
    def rules(host: str, addons: str) -> str:
        scenario = made(addons)
        context = dataclasses.replace(
            scenario.context(host), observed=dataclasses.replace(scenario.observed(host), firewalld=True)
        )
        file = wanted(context)["firewall"].late[0].content
        assert isinstance(file, bytes)
        return file.decode()

    assert '<port port="80" protocol="tcp"/>' in rules("w1", EVERY) and '"443"' in rules("w1", EVERY)
    assert '"80"' not in rules("m1", EVERY) and '"80"' not in rules("w1", "[]")
    assert '<source address="192.0.2.11"/>\n    <port port="10270" protocol="tcp"/>' in rules("m1", EVERY)
    assert "10270" not in rules("w1", EVERY) and "10271" not in rules("w1", EVERY)


@pytest.mark.parametrize(
    ("process", "imported", "expected"),
    [("traefik", True, []), ("traefik", False, [80]), ("nginx", True, [80])],
)
def test_preflight_refuses_a_port_of_an_add_on_that_another_program_has(
    process: str, imported: bool, expected: list[int]
) -> None:
    scenario = made(EVERY)
    host = dataclasses.replace(scenario.observed("w1"), listening={("tcp", 80): process})
    if imported:
        host = carried_out(wanted(scenario.context("w1"))["containerd"], host)
    cluster = Cluster(plan=scenario.plan, roles=ROLES, peer_ports={}, observed={"w1": host}, entries=scenario.store.entries)
    found = [p.what for p in network.findings(cluster, scenario.plan.node("w1"), host)]
    assert [what for what in found if "taken" in what] == [f"port {port} is taken (by {process})" for port in expected]


class Answers:
    """A host whose kubectl answers with `text`."""

    def __init__(self, text: str, rc: int = 0) -> None:
        self.stdout, self.stderr, self.rc = text, "", rc

    def run(self, _command: str) -> Any:
        return self


READY = CHECKS[0]


def _daemon_set(name: str, ready: int) -> str:
    metadata = f'{{"namespace": "kube-system", "name": "{name}"}}'
    return f'{{"kind": "DaemonSet", "metadata": {metadata}, "status": {{"desiredNumberScheduled": 1, "numberReady": {ready}}}}}'


@pytest.mark.parametrize(
    ("items", "expected"),
    [
        ("", "metrics-server: DaemonSet kube-system/metrics-server is missing"),
        (_daemon_set("metrics-server", 0), "metrics-server: DaemonSet kube-system/metrics-server has 0 of 1 pods ready"),
    ],
)
def test_a_workload_that_is_missing_or_not_ready_fails_verify(items: str, expected: str) -> None:
    plan = plan_of("[metrics-server]")
    with pytest.raises(AssertionError, match=expected):
        READY.run(Answers(f'{{"items": [{items}]}}'), plan, plan.node("m1"))


def test_ready_workloads_pass_verify() -> None:
    plan = plan_of("[metrics-server]")
    READY.run(Answers(f'{{"items": [{_daemon_set("metrics-server", 1)}]}}'), plan, plan.node("m1"))


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (Answers("", 1), "the metrics API does not answer"),
        (Answers('{"items": [{"metadata": {"name": "m1"}}]}'), "the metrics API has no metrics of w1"),
    ],
)
def test_a_metrics_api_that_lacks_a_node_fails_verify(answer: Answers, expected: str) -> None:
    plan = plan_of("[metrics-server]")
    with pytest.raises(AssertionError, match=expected):
        METRICS.checks[0].run(answer, plan, plan.node("m1"))
