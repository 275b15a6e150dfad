"""`verify` names faults of a cluster whose components are all alive. Each fault is repaired afterwards."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from typing import Any

import pytest

from kubewright.model.build import make_plan
from kubewright.spec import load
from tests.cluster.conftest import Cluster
from tests.cluster.waiting import until

pytestmark = pytest.mark.cluster

STALE = """
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: stale
  namespace: default
  labels: {kubernetes.io/service-name: kubernetes}
addressType: IPv4
ports: [{name: https, port: 7443, protocol: TCP}]
endpoints: [{addresses: [10.90.0.11]}]
"""
# Packets to the pod are dropped too, since a watch delivers news without answers of its client.
CUT = """nft 'table ip cut {{
  chain to {{ type filter hook prerouting priority -300; ip saddr {0} ip daddr {1} drop; }}
  chain from {{ type filter hook postrouting priority 300; ip daddr {0} tcp sport {{ 443, 6443 }} drop; }}
}}'"""
CERTIFICATE = "/etc/kubernetes/pki/kubelet-server.crt"


def _findings(cluster: Cluster) -> dict[tuple[str, str], str]:
    """The failures: by host and role, all messages."""
    results: list[dict[str, Any]] = json.loads(cluster.kubewright("verify", "--json", check=False).stdout)
    assert all(r["holds"] or r["message"] for r in results)
    found: dict[tuple[str, str], str] = {}
    for r in results:
        if r["message"]:
            found[r["host"], r["role"]] = found.get((r["host"], r["role"]), "") + f"{r['check']}: {r['message']}\n"
    print(found)
    return found


def _named_everywhere(cluster: Cluster) -> dict[tuple[str, str], str]:
    found = _findings(cluster)
    return found if all((host.name, "kube_proxy") in found for host in cluster.lab.hosts) else {}


@contextlib.contextmanager
def _broken(cluster: Cluster, host: str, breaks: str, repairs: str) -> Iterator[None]:
    cluster.ssh(host, breaks)
    try:
        yield
    finally:
        cluster.ssh(host, repairs)


@pytest.fixture(autouse=True)
def repaired(cluster: Cluster) -> Iterator[None]:
    """The next test begins with a cluster without findings, and without leftovers of verify."""
    yield
    until("verify holds", lambda: not _findings(cluster), 90)
    left = cluster.kubectl("get", "services,endpointslices", "-A", "-l", "kubewright.io/verify", "-o", "name").stdout
    assert not left


def test_an_endpoint_of_the_api_at_a_closed_port_is_named_by_every_host(cluster: Cluster) -> None:
    cluster.kubectl("apply", "-f", "-", stdin=STALE)
    try:
        found = until("every host has it", lambda: _named_everywhere(cluster), 30)
    finally:
        cluster.kubectl("delete", "endpointslice", "stale")
    masters = {host: said for (host, role), said in found.items() if role == "apiserver"}
    assert masters.keys() == {"m1", "m2", "m3"}
    assert all("10.90.0.11:7443 (EndpointSlice stale)" in said and "delete endpointslice" in said for said in masters.values())


def test_a_coredns_pod_without_news_from_the_api_is_named(cluster: Cluster) -> None:
    plan = make_plan(load(cluster.inventory))
    pods = json.loads(cluster.kubectl("-n", "kube-system", "get", "pods", "-l", "k8s-app=kube-dns", "-o", "json").stdout)["items"]
    cut, other = pods
    address, host = cut["status"]["podIP"], cut["spec"]["nodeName"]
    with _broken(cluster, host, CUT.format(address, plan.api_service_address), "nft delete table ip cut"):
        found = _findings(cluster)
    said = {host: text for (host, role), text in found.items() if role == "coredns" and "these CoreDNS pods" in text}
    assert said.keys() == {"m1", "m2", "m3"}
    assert all(cut["metadata"]["name"] in text and other["metadata"]["name"] not in text for text in said.values())


def test_a_lost_route_to_another_hosts_pods_is_named_with_the_way_that_packets_take(cluster: Cluster) -> None:
    subnet = cluster.ssh("w2", ". /run/flannel/subnet.env; echo $FLANNEL_SUBNET").stdout.strip().replace(".1/", ".0/")
    route = cluster.ssh("w1", f"ip route show {subnet}").stdout.strip()
    with _broken(cluster, "w1", f"ip route del {subnet}", f"ip route add {route}"):
        found = _findings(cluster)
    # Answers from w1 to w2 are lost too.
    assert {host for host, role in found if role == "flannel"} == {"w1", "w2"}
    assert "can't reach pods on w2" in found["w1", "flannel"] and "dev eth0" in found["w1", "flannel"]


def test_flushed_rules_of_kube_proxy_are_reported(cluster: Cluster) -> None:
    with _broken(cluster, "w1", "iptables -t nat -F KUBE-SERVICES", "systemctl restart kube-proxy"):
        found = _findings(cluster)
    assert {host for host, role in found if role == "kube_proxy"} == {"w1"}
    assert "no rule leads on from" in found["w1", "kube_proxy"] and "restart kube-proxy" in found["w1", "kube_proxy"]


def test_a_port_that_serves_another_certificate_than_the_one_on_disk_is_named(cluster: Cluster) -> None:
    breaks = f"cp -a {CERTIFICATE} /root/kept.crt && cp {CERTIFICATE.replace('server', 'client')} {CERTIFICATE}"
    with _broken(cluster, "w1", breaks, f"cp -a /root/kept.crt {CERTIFICATE} && rm /root/kept.crt"):
        found = _findings(cluster)
    assert found.keys() == {("w1", "kubelet")}
    assert f"than {CERTIFICATE}" in found["w1", "kubelet"]


def test_a_key_that_others_may_read_and_a_unit_that_no_boot_starts_are_named(cluster: Cluster) -> None:
    key = CERTIFICATE.replace(".crt", ".key")
    with _broken(
        cluster, "w1", f"chmod 0644 {key}; systemctl disable kube-proxy", f"chmod 0600 {key}; systemctl enable kube-proxy"
    ):
        found = _findings(cluster)
    assert found.keys() == {("w1", "certificates"), ("w1", "kube_proxy")}
    assert f"{key} has the owner root and the mode 0644" in found["w1", "certificates"]
    assert "kube-proxy.service is disabled, expected: enabled" in found["w1", "kube_proxy"]


def test_a_process_of_another_version_than_the_linked_one_is_named(cluster: Cluster) -> None:
    link, other = "/usr/local/bin/kube-proxy", "/opt/kubewright/kube-proxy/0-test/kube-proxy"
    breaks = f"readlink {link} >/root/kept; install -D -m 0755 {link} {other} && ln -sfn {other} {link}"
    repairs = f'ln -sfn "$(cat /root/kept)" {link}; rm -r /root/kept {other.rpartition("/")[0]}'
    with _broken(cluster, "w1", breaks, repairs):
        found = _findings(cluster)
    assert found.keys() == {("w1", "kube_proxy")}
    assert f"expected: {other} (from {link})" in found["w1", "kube_proxy"]


def test_a_host_that_is_off_is_a_finding_and_the_others_are_checked(cluster: Cluster) -> None:
    cluster.stop("w2")
    try:
        done = cluster.kubewright("verify", "--json", check=False)
    finally:
        cluster.start("w2")
    results = json.loads(done.stdout)
    assert done.returncode == 1
    assert [r["check"] for r in results if r["host"] == "w2" and r["role"] == "connection"] == ["the host answers over SSH"]
    assert {r["host"] for r in results} == {host.name for host in cluster.lab.hosts}
