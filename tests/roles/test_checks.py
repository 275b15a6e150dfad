"""Checks with recorded answers: they pass for a healthy cluster, and name the fault of another."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from ipaddress import IPv4Address, IPv4Network
from typing import Any

import pytest

from roles.apiserver.checks import CHECKS as APISERVER
from roles.base.role import ROLE as BASE
from roles.coredns import news
from roles.coredns.checks import CHECKS as COREDNS
from roles.coredns.dns import Reply, query, replies
from roles.etcd.data_checks import DATA_CHECKS
from roles.flannel.checks import CHECKS as FLANNEL
from roles.flannel.checks import NETWORKS, PodNetwork, pod_network
from tests.support.recorded import API, DNS, MASTERS, PLAN, saying, why_not

# -- the kernel

SYSCTLS = """net.ipv4.ip_forward = 1
net.bridge.bridge-nf-call-iptables = {0}
net.ipv4.conf.all.rp_filter = 0
net.ipv4.conf.default.rp_filter = 0
"""


def test_a_kernel_setting_that_another_file_overrides_is_named() -> None:
    assert not why_not(BASE.checks, "kernel", saying(SYSCTLS.format(1)))
    assert "net.bridge.bridge-nf-call-iptables is 0, not 1; kubewright apply sets" in why_not(
        BASE.checks, "kernel", saying(SYSCTLS.format(0))
    )
    assert "net.ipv4.ip_forward is not there, not 1" in why_not(BASE.checks, "kernel", saying())


# -- the kubernetes Service


def _slice(port: int, *addresses: str, name: str = "kubernetes") -> Mapping[str, Any]:
    return {"metadata": {"name": name}, "ports": [{"port": port}], "endpoints": [{"addresses": [a]} for a in addresses]}


@pytest.mark.parametrize(
    ("items", "why"),
    [
        ([_slice(6443, *MASTERS)], ""),
        ([_slice(6443, *MASTERS), _slice(7443, MASTERS[0], name="stale")], "10.90.0.11:7443 (EndpointSlice stale)"),
        ([_slice(7443, *MASTERS)], "10.90.0.12:7443 (EndpointSlice kubernetes)"),
        ([_slice(6443, *MASTERS[:2])], "does not lead to 10.90.0.13:6443"),
        ([], "does not lead to 10.90.0.11:6443, 10.90.0.12:6443, 10.90.0.13:6443"),
    ],
)
def test_the_endpoints_of_the_api_are_the_masters_at_the_planned_port(items: list[Any], why: str) -> None:
    said = why_not(APISERVER, "leads to", saying(json.dumps({"items": items})))
    assert (why in said) if why else not said


# -- DNS


def _answer(name: str, *addresses: str, code: int = 0) -> str:
    question = query(name)
    head = question[:2] + bytes([0x81, 0x80 | code]) + b"\0\1" + len(addresses).to_bytes(2, "big") + b"\0\0\0\0"
    rows = b"".join(b"\xc0\x0c\0\1\0\1\0\0\0\5\0\4" + IPv4Address(a).packed for a in addresses)
    return (head + question[12:] + rows).hex()


NAME = f"kubernetes.default.svc.{PLAN.domain}"


def test_answers_of_dns_are_read() -> None:
    alias = bytes.fromhex(_answer("a.b", "10.0.0.1"))
    alias = alias[:7] + b"\2" + alias[8:21] + b"\xc0\x0c\0\5\0\1\0\0\0\5\0\3\1c\0" + alias[21:]
    said = f"1 {_answer('a.b', '10.0.0.1', '10.0.0.2')}\n2 {_answer('a.b', code=3)}\n3 -\n4 00ff\n"
    said += f"5 {_answer('a.b')}\n6 {alias.hex()}"
    assert replies(said) == {
        "1": Reply(addresses=(IPv4Address("10.0.0.1"), IPv4Address("10.0.0.2"))),
        "2": Reply(why="NXDOMAIN"),
        "3": Reply(why="no answer"),
        "4": Reply(why="an answer that is no DNS (00ff)"),
        "5": Reply(why="no address"),
        "6": Reply(addresses=(IPv4Address("10.0.0.1"),)),
    }


def test_the_api_has_a_name_at_the_dns_service() -> None:
    assert not why_not(COREDNS, "resolves", saying(f"{DNS} -\n{DNS} {_answer(NAME, API)}"))
    assert "NXDOMAIN" in why_not(COREDNS, "resolves", saying(f"{DNS} {_answer(NAME, code=3)}"))
    assert f"gives 10.1.1.1, not {API}" in why_not(COREDNS, "resolves", saying(f"{DNS} {_answer(NAME, '10.1.1.1')}"))
    silent = why_not(COREDNS, "resolves", saying(""))
    assert "no answer" in silent and "look at this host's kube-proxy and flannel checks" in silent


def test_as_many_dns_pods_are_ready_as_there_are_hosts_for() -> None:
    assert not why_not(COREDNS, "replicas", saying("2"))
    assert not why_not(COREDNS, "replicas", saying("3")), "a host that does not answer may run one"
    assert "1 of 2 replicas are ready" in why_not(COREDNS, "replicas", saying("1"))
    assert "0 of 2 replicas are ready" in why_not(COREDNS, "replicas", saying(""))


NEWS = news.News(names=("h0.x", "h1.x"), pods={"10.244.1.2": "coredns-a on w1", "10.244.2.2": "coredns-b on w2"})


def test_a_new_service_is_known_to_dns_and_to_each_of_its_pods() -> None:
    known = _answer("h0.x", news.ADDRESS)
    assert not why_not(COREDNS, "the DNS Service knows", saying(f"{DNS} {known}"), NEWS)
    assert "made a moment ago (NXDOMAIN)" in why_not(
        COREDNS, "the DNS Service knows", saying(f"{DNS} {_answer('h1.x', code=3)}"), NEWS
    )
    assert not why_not(COREDNS, "every CoreDNS pod", saying(f"10.244.1.2 {known}\n10.244.2.2 {known}"), NEWS)
    deaf = why_not(COREDNS, "every CoreDNS pod", saying(f"10.244.1.2 {known}\n10.244.2.2 {_answer('h1.x', code=3)}"), NEWS)
    assert "coredns-b on w2 (10.244.2.2): NXDOMAIN" in deaf and "coredns-a" not in deaf
    none = why_not(COREDNS, "every CoreDNS pod", saying(), news.News(names=("h0.x",), pods={}))
    assert "no CoreDNS pod is ready" in none


def _items(*runs: tuple[str, str]) -> str:
    mine = [{"kind": "Service", "metadata": {"labels": {news.LABEL: run}, "creationTimestamp": at}} for run, at in runs]
    endpoints = [
        {"addresses": ["10.244.1.2"], "conditions": {"ready": True}, "nodeName": "w1", "targetRef": {"name": "coredns-a"}},
        {"addresses": ["10.244.2.2"], "conditions": {"ready": False}, "nodeName": "w2", "targetRef": {"name": "coredns-b"}},
    ]
    labels = {"kubernetes.io/service-name": "kube-dns"}
    dns = {"kind": "EndpointSlice", "metadata": {"labels": labels}, "endpoints": endpoints}
    return json.dumps({"items": [*mine, dns, {"kind": "Service", "metadata": {"creationTimestamp": "2026-11-26T09:00:00Z"}}]})


def test_the_service_is_made_on_the_first_master_that_can_and_leftovers_of_killed_runs_are_removed() -> None:
    now, before, long_before = "2026-11-26T10:00:00Z", "2026-11-26T09:55:00Z", "2026-11-26T09:00:00Z"
    said = _items(("9-mine", now), ("8-other", before), ("1-old", long_before))
    m1, m2 = saying("", "connection refused", 1), saying(said)
    made = news.NEWS.make({"m1": m1, "m2": m2}, PLAN, "9-mine")
    assert made.names[0] == f"h0.kubewright-verify-9-mine.kube-system.svc.{PLAN.domain}"
    assert made.pods == {"10.244.1.2": "coredns-a on w1"}
    assert "apply -f -" in m2.asked[0]
    assert f"-l '{news.LABEL} in (1-old)'" in m2.asked[1] and len(m2.asked) == 2
    news.NEWS.remove({"m1": m1, "m2": m2}, PLAN, "9-mine")
    assert f"-l '{news.LABEL} in (9-mine)'" in m2.asked[2]


def test_without_a_master_that_can_make_the_service_each_reason_is_reported() -> None:
    with pytest.raises(AssertionError, match=re.escape("(m1: refused; m2: refused)")):
        news.NEWS.make({"m1": saying("", "refused", 1), "m2": saying("", "refused", 1)}, PLAN, "1-a")
    with pytest.raises(AssertionError, match="is left in kube-system"):
        news.NEWS.remove({"m1": saying("", "refused", 1)}, PLAN, "1-a")


def test_kube_proxy_ignores_the_made_service() -> None:
    for item in json.loads(news.manifest("1-a"))["items"]:
        assert "service.kubernetes.io/headless" in item["metadata"]["labels"]


# -- the pods' network

ADDRESSES = """FLANNEL_SUBNET=10.244.{0}.1/24
2: eth1    inet 10.90.0.11/24 brd 10.90.0.255 scope global eth1\\       valid_lft forever
"""
VXLAN = ADDRESSES + "4: flannel.1    inet 10.244.{0}.0/32 scope global flannel.1\\       valid_lft forever\n"


def test_a_hosts_own_address_in_the_pods_network_is_found() -> None:
    subnet = IPv4Network("10.244.19.0/24")
    assert pod_network(VXLAN.format(19)) == PodNetwork(subnet=subnet, address=IPv4Address("10.244.19.0"))
    assert pod_network(ADDRESSES.format(19)) == PodNetwork(subnet=subnet, address=None)
    assert pod_network("cat: /run/flannel/subnet.env: No such file") is None


def test_every_other_host_with_a_subnet_is_tried() -> None:
    hosts = {n.name: saying(VXLAN.format(i) if n.name != "m3" else "") for i, n in enumerate(PLAN.kubelets)}
    networks = NETWORKS.make(hosts, PLAN, "1-a")
    assert networks.keys() == {"m1", "m2", "w1", "w2"}
    host = saying("")
    assert not why_not(FLANNEL, "reaches", host, networks)
    assert re.findall(r"10\.244\.\d+\.0/\d+", host.asked[0]) == ["10.244.1.0/10256", "10.244.3.0/10256", "10.244.4.0/10256"]


def test_a_host_whose_pods_are_not_reached_is_named_with_the_route_there() -> None:
    networks = {"w1": pod_network(VXLAN.format(1)), "w2": pod_network(VXLAN.format(2))}
    said = "10.244.2.0/10256 no answer in 3 s\nroute 10.244.2.0 10.244.2.0 via 10.0.2.2 dev eth0 src 10.0.2.15\n"
    why = why_not(FLANNEL, "reaches", saying(said), networks)
    assert "w2 (10.244.2.0: no answer in 3 s; its route: 10.244.2.0 via 10.0.2.2 dev eth0" in why and "w1" not in why
    assert "restart flannel" in why


@pytest.mark.parametrize(("via", "holds"), [("10.90.0.22", True), ("10.90.0.2", False), ("10.0.2.2", False)])
def test_with_host_gw_and_no_pod_yet_the_route_must_lead_to_the_host(via: str, holds: bool) -> None:
    networks = {"w2": pod_network(ADDRESSES.format(2))}
    why = why_not(FLANNEL, "reaches", saying(f"route 10.244.2.1 10.244.2.1 via {via} dev eth1 src 10.90.0.11\n"), networks)
    assert bool(why) != holds and ("10.244.2.0/24 is routed wrongly" in why) != holds


# -- etcd

STATUS = '"MemberID" : 8705400442486745986\n"Version" : "3.7.3"\n'


@pytest.mark.parametrize(
    ("raised", "why"),
    [
        ("", ""),
        ("memberID:1 alarm:NOSPACE\n", ""),
        ("memberID:8705400442486745986 alarm:NOSPACE\n", "disarm the alarm: docs/runbooks/etcd.md"),
        # As etcdctl 3.7.3 prints it here.
        ("memberID:8705400442486745986  alarm:NOSPACE\n", "disarm the alarm: docs/runbooks/etcd.md"),
        ("memberID:8705400442486745986 alarm:CORRUPT\n", "replace the member as docs/runbooks/etcd.md says"),
    ],
)
def test_an_alarm_of_the_member_is_named_with_the_way_out(raised: str, why: str) -> None:
    said = why_not(DATA_CHECKS, "alarm", saying(raised + STATUS))
    assert (why in said and raised.split(":")[2].strip() in said) if why else not said


def test_a_failed_question_about_alarms_fails_the_check() -> None:
    assert "deadline exceeded" in why_not(DATA_CHECKS, "alarm", saying("", "context deadline exceeded", 1))


def test_a_write_that_a_member_refuses_is_reported() -> None:
    host = saying("OK\n1\n")
    assert not why_not(DATA_CHECKS, "write", host, node="m2")
    assert "put /kubewright/verify/m2 " in host.asked[0] and "del /kubewright/verify/m2 " in host.asked[0]
    assert "database space exceeded" in why_not(DATA_CHECKS, "write", saying("", "etcdserver: mvcc: database space exceeded", 1))
    assert "another value was read" in why_not(DATA_CHECKS, "write", saying("OK\n1\n", "", 1))
