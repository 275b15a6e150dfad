"""The roles' decisions about the kernel, the number of pods and Services' external addresses."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from kubewright.observe.observed import SYSCTLS
from kubewright.plan.changes import changes
from kubewright.plan.context import Context
from kubewright.plan.desired import Desired, File
from roles.apiserver.flags import flags
from roles.base.role import ROLE as BASE
from roles.common import sysctls
from roles.kubelet.role import ROLE as KUBELET
from tests.support.hosts import carried_out
from tests.support.scenarios import scenario


def _context(**observed: Any) -> Context:
    context = scenario("lab").context("w1")
    return replace(context, observed=replace(context.observed, **observed))


def test_the_file_says_what_is_observed() -> None:
    lines = sysctls.file({}).content
    assert isinstance(lines, bytes)
    said = dict(line.split(" = ") for line in lines.decode().splitlines() if not line.startswith("#"))
    assert said == SYSCTLS


def _due(running: dict[str, str]) -> tuple[File, ...]:
    """A host where everything was applied."""
    wanted = BASE.desired(_context(sysctls=running))
    return changes(wanted, carried_out(wanted, _context(sysctls=running).observed)).late


def test_wanted_running_values_are_no_change() -> None:
    assert _due(dict(SYSCTLS)) == ()
    assert _due({}) == (), "a kernel without them has its module not loaded"


def test_another_running_value_is_named_and_set_again() -> None:
    (due,) = _due({**SYSCTLS, "net.bridge.bridge-nf-call-iptables": "0"})
    assert due.title.endswith("(/etc/sysctl.d/99-kubernetes.conf): net.bridge.bridge-nf-call-iptables is 0, not 1")


def _config(length: int) -> str:
    context = _context()
    desired: Desired = KUBELET.desired(replace(context, plan=replace(context.plan, pod_prefix_length=length)))
    content = next(f.content for f in desired.files if f.path == "/etc/kubernetes/kubelet.yaml")
    assert isinstance(content, bytes)
    return content.decode()


@pytest.mark.parametrize(("length", "pods"), [(26, 61), (27, 29), (28, 13)])
def test_a_node_takes_as_many_pods_as_its_subnet_has_addresses(length: int, pods: int) -> None:
    assert f"\nmaxPods: {pods}\n" in _config(length)


@pytest.mark.parametrize("length", [20, 24, 25])
def test_kubelets_default_number_of_pods_is_not_written(length: int) -> None:
    assert "maxPods" not in _config(length)


@pytest.mark.parametrize(("allowed", "plugins"), [(False, "DenyServiceExternalIPs,NodeRestriction"), (True, "NodeRestriction")])
def test_external_addresses_of_services_are_denied_by_default(allowed: bool, plugins: str) -> None:
    plan = replace(scenario("lab").plan, external_ips=allowed)
    assert flags(plan, plan.masters[0])["enable-admission-plugins"] == plugins


def test_the_apiservers_gate_asks_the_port_in_use_and_the_planned_one() -> None:
    from roles.apiserver.role import ROLE as APISERVER

    context = scenario("lab").context("m1")
    observed = replace(context.observed, configured={"kube-apiserver secure-port": "7443"})
    gate = APISERVER.desired(replace(context, observed=observed)).units[0].gate
    assert "https://127.0.0.1:7443/readyz >/dev/null; case" in gate
    assert "https://10.90.0.12:7443/readyz >/dev/null || curl" in gate
    assert "https://10.90.0.12:6443/readyz >/dev/null || {" in gate
