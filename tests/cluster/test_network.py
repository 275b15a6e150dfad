"""Pods, Services, names and node ports, between all hosts."""

from __future__ import annotations

import json
from collections.abc import Iterable

import pytest

from tests.cluster.manifests import NAMESPACE, PORT
from tests.cluster.reach import ask, on
from tests.cluster.waiting import until
from tests.cluster.workloads import Pod, Workloads

pytestmark = pytest.mark.cluster

NAMES = ("{service}", "{service}." + NAMESPACE, "{service}." + NAMESPACE + ".svc", "{service}." + NAMESPACE + ".svc.{domain}")
SETTLE_SECONDS = 15
"""The time limit for rules of a new endpoint on every host."""


def _service(workloads: Workloads, name: str) -> dict[str, object]:
    spec: dict[str, object] = workloads.api().get(f"/api/v1/namespaces/{NAMESPACE}/services/{name}")["spec"]
    return spec


def _failures(attempts: Iterable[tuple[str, str, str]]) -> list[str]:
    return [f"{what}: {found!r}, not {wanted!r}" for what, wanted, found in attempts if wanted != found]


def test_pods_on_every_host_reach_pods_on_every_host_by_address(workloads: Workloads) -> None:
    pods = workloads.everywhere()
    assert len({p.host for p in pods}) == len(workloads.plan.kubelets)
    attempts = [
        (f"{source.host} to {target.host}", target.name, workloads.dialled(source, target.address, PORT)[0])
        for source in pods
        for target in pods
    ]
    assert not _failures(attempts)
    assert len(attempts) == 25


def test_pods_see_each_others_own_addresses(workloads: Workloads) -> None:
    """No address translation between pods."""
    one, two = workloads.pod("one"), workloads.pod("two")
    assert one.host != two.host
    (seen,) = workloads.dialled(one, two.address, PORT, request="clientip")
    assert seen.rpartition(":")[0] == str(one.address)


def test_a_service_reaches_pods_on_every_host_by_its_address_and_all_its_names(workloads: Workloads) -> None:
    address = str(_service(workloads, "everywhere")["clusterIP"])
    targets = [address, *(n.format(service="everywhere", domain=workloads.plan.domain) for n in NAMES)]
    for source in workloads.everywhere():
        for target in targets:
            _every_endpoint_answers(workloads, source, target)


def _every_endpoint_answers(workloads: Workloads, source: Pod, target: str) -> None:
    every, answered = {p.name for p in workloads.everywhere()}, set[str]()

    def all_have() -> bool:
        answered.update(workloads.dialled(source, target, 80, tries=10))
        return answered == every

    until(f"every endpoint has answered {source.host} as {target}", all_have, SETTLE_SECONDS, pause=0)


def test_a_name_that_is_no_service_does_not_resolve(workloads: Workloads) -> None:
    source = workloads.pod("one")
    with pytest.raises(AssertionError, match="no such host"):
        workloads.dialled(source, f"nothing.{NAMESPACE}.svc.{workloads.plan.domain}", 80)
    assert workloads.dialled(source, f"only-two.{NAMESPACE}.svc.{workloads.plan.domain}", 80) == ["two"]


def test_a_service_carries_udp_from_every_host(workloads: Workloads) -> None:
    pods = workloads.everywhere()
    for source in pods:
        assert workloads.dialled(source, "everywhere", 81, protocol="udp")[0] in {p.name for p in pods}


def test_a_headless_services_pods_answer_by_their_own_names(workloads: Workloads) -> None:
    names = [(f"{pod}.peers{rest}", pod) for pod in ("one", "two") for rest in ("", f".{NAMESPACE}.svc.{workloads.plan.domain}")]
    attempts = [
        (f"{source.host} to {name}", pod, workloads.dialled(source, name, PORT)[0])
        for source in workloads.everywhere()
        for name, pod in names
    ]
    assert not _failures(attempts)
    # The Service's own name is all of its pods' addresses.
    found = workloads.shell(workloads.pod("one"), f"nslookup peers.{NAMESPACE}.svc.{workloads.plan.domain}")
    assert all(str(workloads.pod(name).address) in found for name in ("one", "two")), found


def test_a_node_port_answers_on_every_address_to_every_host(workloads: Workloads) -> None:
    """Its only endpoint is on one host: the other four forward. A machine beside the hosts gets answers too."""
    (port,) = (p["nodePort"] for p in _service(workloads, "only-two")["ports"])  # type: ignore[attr-defined]
    attempts = []
    for source in (None, *(n.name for n in workloads.plan.kubelets)):
        with on(workloads.lab, source):
            for target in workloads.plan.kubelets:
                answer = ask(target.address, int(port), "/hostname")
                attempts.append((f"{source or 'beside'} to {target.name}:{port}", "two", str(answer).removeprefix("200 ")))
    assert not _failures(attempts)
    assert len(attempts) == 30


def test_a_port_that_is_no_node_port_does_not_answer(workloads: Workloads) -> None:
    with on(workloads.lab):
        answers = [ask(n.address, 32767, "/hostname") for n in workloads.plan.kubelets]
    assert all(a.broken.startswith("ConnectionRefusedError") for a in answers), answers


def test_a_pod_reaches_itself_through_its_own_service(workloads: Workloads) -> None:
    one = workloads.pod("one")
    for target in (_service(workloads, "only-one")["clusterIP"], "only-one", f"only-one.{NAMESPACE}.svc.{workloads.plan.domain}"):
        assert workloads.dialled(one, target, 80) == ["one"]


def test_hosts_reach_services_and_pods(workloads: Workloads) -> None:
    address, two = _service(workloads, "only-two")["clusterIP"], workloads.pod("two")
    attempts = []
    for node in workloads.plan.kubelets:
        with on(workloads.lab, node.name):
            for target, port in ((address, 80), (two.address, PORT)):
                found = str(ask(target, port, "/hostname")).removeprefix("200 ")
                attempts.append((f"{node.name} to {target}", "two", found))
    assert not _failures(attempts)


def test_pods_on_every_host_use_the_clusters_dns(workloads: Workloads) -> None:
    plan = workloads.plan
    for pod in workloads.everywhere():
        lines = workloads.shell(pod, "cat /etc/resolv.conf").splitlines()
        assert f"nameserver {plan.dns_address}" in lines, f"{pod.host}: {lines}"
        assert f"search {NAMESPACE}.svc.{plan.domain} svc.{plan.domain} {plan.domain}" in lines, f"{pod.host}: {lines}"


def test_dns_has_a_fixed_address_and_two_replicas_on_different_hosts(workloads: Workloads) -> None:
    api = workloads.api()
    service = api.get("/api/v1/namespaces/kube-system/services/kube-dns")["spec"]
    pods = api.get("/api/v1/namespaces/kube-system/pods?labelSelector=k8s-app%3Dkube-dns")["items"]
    assert service["clusterIP"] == str(workloads.plan.dns_address)
    assert len(pods) == 2 and len({p["spec"]["nodeName"] for p in pods}) == 2, json.dumps([p["spec"]["nodeName"] for p in pods])
    # Each of the two answers, asked by its own address from another host.
    one = workloads.pod("one")
    name, address = f"only-two.{NAMESPACE}.svc.{workloads.plan.domain}", str(_service(workloads, "only-two")["clusterIP"])
    for pod in pods:
        assert address in workloads.shell(one, f"nslookup {name} {pod['status']['podIP']}")
