"""Checks with recorded answers: they pass for a healthy cluster, and name the fault of another."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network
from typing import Any

import pytest

from kubewright.model.cluster import Node, Plan
from kubewright.plan.role import Check
from roles.apiserver.checks import CHECKS as APISERVER
from roles.base.role import ROLE as BASE
from roles.coredns import news
from roles.coredns.checks import CHECKS as COREDNS
from roles.coredns.dns import Reply, query, replies
from roles.etcd.data_checks import DATA_CHECKS
from roles.flannel.checks import CHECKS as FLANNEL
from roles.flannel.checks import NETWORKS, PodNetwork, pod_network
from roles.kube_proxy.checks import CHECKS as KUBE_PROXY
from roles.kube_proxy.checks import endpoints
from tests.support.scenarios import scenario

PLAN = scenario("lab").plan
API, DNS = str(PLAN.api_service_address), str(PLAN.dns_address)


@dataclass(frozen=True, kw_only=True)
class Said:
    stdout: str = ""
    stderr: str = ""
    rc: int = 0


@dataclass(kw_only=True)
class Recorded:
    """A host that answers every command with `said`, or as `tell` says."""

    tell: Callable[[str], Said]
    asked: list[str] = field(default_factory=list)

    def run(self, command: str) -> Said:
        self.asked.append(command)
        return self.tell(command)


def _said(stdout: str = "", stderr: str = "", rc: int = 0) -> Recorded:
    return Recorded(tell=lambda _command: Said(stdout=stdout, stderr=stderr, rc=rc))


def _run(checks: tuple[Check, ...], title: str, host: Recorded, *needed: Any, node: str = "m1", plan: Plan = PLAN) -> str:
    """Why the check does not hold; empty when it does."""
    (check,) = (c for c in checks if title in c.title)
    found: Node = plan.node(node)
    try:
        check.run(host, plan, found, *needed)
    except AssertionError as error:
        return str(error)
    return ""


# -- the kernel

SYSCTLS = """net.ipv4.ip_forward = 1
net.bridge.bridge-nf-call-iptables = {0}
net.ipv4.conf.all.rp_filter = 0
net.ipv4.conf.default.rp_filter = 0
"""


def test_a_kernel_setting_that_another_file_overrides_is_named() -> None:
    assert not _run(BASE.checks, "kernel", _said(SYSCTLS.format(1)))
    assert "net.bridge.bridge-nf-call-iptables is 0, not 1; kubewright apply sets" in _run(
        BASE.checks, "kernel", _said(SYSCTLS.format(0))
    )
    assert "net.ipv4.ip_forward is not there, not 1" in _run(BASE.checks, "kernel", _said())


# -- the kubernetes Service


def _slice(port: int, *addresses: str, name: str = "kubernetes") -> Mapping[str, Any]:
    return {"metadata": {"name": name}, "ports": [{"port": port}], "endpoints": [{"addresses": [a]} for a in addresses]}


MASTERS = [str(m.address) for m in PLAN.masters]


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
    said = _run(APISERVER, "leads to", _said(json.dumps({"items": items})))
    assert (why in said) if why else not said


IPTABLES = """\
-A KUBE-SERVICES -d {dns}/32 -p udp -m comment --comment "kube-system/kube-dns:dns cluster IP" -m udp --dport 53 -j KUBE-SVC-T
-A KUBE-SERVICES -d {api}/32 -p tcp -m comment --comment "default/kubernetes:https cluster IP" -m tcp --dport 443 -j KUBE-SVC-N
"""
TO = '-A KUBE-SVC-N -m comment --comment "default/kubernetes:https -> {0}" -m statistic --mode random -j KUBE-SEP-L\n'
NFT = """\
    elements = {{ {dns} . udp . 53 : goto service-NWBZK7IH-kube-system/kube-dns/udp/dns,
                 {api} . tcp . 443 : goto service-2QRHZV4L-default/kubernetes/tcp/https }}
    numgen random mod 3 vmap {{ {to} }}
  chain endpoint-X7-default/kubernetes/tcp/https__10.9.9.9/6443 {{
"""
GOTO = "{1} : goto endpoint-X7-default/kubernetes/tcp/https__{0}"


# From a lab with 1.37.1: several endpoints, then one.
NFT_137 = """\
    elements = {{ {dns} . udp . 53 : goto service-FY5PMXPG-kube-system/kube-dns/udp/dns,
                 {api} . tcp . 443 : goto service-2QRHZV4L-default/kubernetes/tcp/https }}
--
	chain service-2QRHZV4L-default/kubernetes/tcp/https {{
{rule}	}}

	chain service-FY5PMXPG-kube-system/kube-dns/udp/dns {{
		meta l4proto udp dnat to 10.244.8.2:53
"""
MAP = "\t\tmeta l4proto tcp dnat ip to numgen random mod {0} map {{ {1} }}\n"


def _rule(ends: list[str]) -> str:
    if len(ends) == 1:
        return f"\t\tmeta l4proto tcp dnat to {ends[0]}\n"
    return MAP.format(len(ends), ", ".join(f"{i} : {end.replace(':', ' . ')}" for i, end in enumerate(ends))) if ends else ""


def _rules(form: str, ends: list[str], dns: str = DNS) -> str:
    if form == "iptables":
        return IPTABLES.format(dns=dns, api=API) + "".join(TO.format(end) for end in ends)
    if form == "nft of 1.37":
        return NFT_137.format(dns=dns, api=API, rule=_rule(ends))
    to = ", ".join(GOTO.format(end.replace(":", "/"), i) for i, end in enumerate(ends))
    return NFT.format(dns=dns, api=API, to=to)


GOOD = [f"{m}:6443" for m in MASTERS]


def test_nft_rules_of_137_for_one_master_are_read() -> None:
    assert endpoints(_rules("nft of 1.37", ["10.90.0.11:6443"])) == {"10.90.0.11:6443"}


@pytest.mark.parametrize("form", ["iptables", "nft", "nft of 1.37"])
def test_rules_lead_to_the_masters_and_to_dns(form: str) -> None:
    assert not _run(KUBE_PROXY, "its rules", _said(_rules(form, GOOD)))
    stale = _run(KUBE_PROXY, "its rules", _said(_rules(form, [*GOOD, "10.90.0.11:7443"])))
    assert f"{API}:443 leads to 10.90.0.11:6443, 10.90.0.11:7443" in stale
    assert "leads to nothing" in _run(KUBE_PROXY, "its rules", _said(_rules(form, [])))
    assert f"no rule leads on from {DNS}:" in _run(KUBE_PROXY, "its rules", _said(_rules(form, GOOD, dns=f"{DNS}1")))


def test_missing_rules_are_reported() -> None:
    said = _run(KUBE_PROXY, "its rules", _said(rc=1))
    assert f"no rule leads on from {API}, {DNS}:" in said and "systemctl restart kube-proxy" in said


METRICS = """\
1795715040
kubeproxy_sync_proxy_rules_last_queued_timestamp_seconds{{ip_family="IPv4"}} {queued}
kubeproxy_sync_proxy_rules_last_queued_timestamp_seconds{{ip_family="IPv6"}} 1.795715039e+09
kubeproxy_sync_proxy_rules_last_timestamp_seconds{{ip_family="IPv4"}} 1.7957150274460611e+09
kubeproxy_sync_proxy_rules_last_timestamp_seconds{{ip_family="IPv6"}} 1.7957150182824795e+09
"""


@pytest.mark.parametrize(
    ("queued", "why"),
    [("1.795715027421831e+09", ""), ("1.795715039e+09", ""), ("1.795715028e+09", "a change has waited 12 s for its rules")],
)
def test_a_change_that_waits_long_for_its_rules_is_reported(queued: str, why: str) -> None:
    said = _run(KUBE_PROXY, "written", _said(METRICS.format(queued=queued)))
    assert (why in said) if why else not said


def test_kube_proxy_without_metrics_is_reported() -> None:
    assert "Failed to connect" in _run(KUBE_PROXY, "written", _said("1795715040\n", "curl: (7) Failed to connect", 1))


def test_the_api_is_asked_through_its_service_address() -> None:
    host = _said("ok")
    assert not _run(KUBE_PROXY, "Service address", host, node="w1")
    assert f"--cacert /etc/kubernetes/pki/ca.crt https://{API}:443/readyz" in host.asked[0]
    assert "Connection timed out" in _run(KUBE_PROXY, "Service address", _said("", "curl: (28) Connection timed out", 28))


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
    assert not _run(COREDNS, "resolves", _said(f"{DNS} -\n{DNS} {_answer(NAME, API)}"))
    assert "NXDOMAIN" in _run(COREDNS, "resolves", _said(f"{DNS} {_answer(NAME, code=3)}"))
    assert f"gives 10.1.1.1, not {API}" in _run(COREDNS, "resolves", _said(f"{DNS} {_answer(NAME, '10.1.1.1')}"))
    silent = _run(COREDNS, "resolves", _said(""))
    assert "no answer" in silent and "look at this host's kube-proxy and flannel checks" in silent


NEWS = news.News(names=("h0.x", "h1.x"), pods={"10.244.1.2": "coredns-a on w1", "10.244.2.2": "coredns-b on w2"})


def test_a_new_service_is_known_to_dns_and_to_each_of_its_pods() -> None:
    known = _answer("h0.x", news.ADDRESS)
    assert not _run(COREDNS, "the DNS Service knows", _said(f"{DNS} {known}"), NEWS)
    assert "made a moment ago (NXDOMAIN)" in _run(
        COREDNS, "the DNS Service knows", _said(f"{DNS} {_answer('h1.x', code=3)}"), NEWS
    )
    assert not _run(COREDNS, "every CoreDNS pod", _said(f"10.244.1.2 {known}\n10.244.2.2 {known}"), NEWS)
    deaf = _run(COREDNS, "every CoreDNS pod", _said(f"10.244.1.2 {known}\n10.244.2.2 {_answer('h1.x', code=3)}"), NEWS)
    assert "coredns-b on w2 (10.244.2.2): NXDOMAIN" in deaf and "coredns-a" not in deaf
    none = _run(COREDNS, "every CoreDNS pod", _said(), news.News(names=("h0.x",), pods={}))
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
    m1, m2 = _said("", "connection refused", 1), _said(said)
    made = news.NEWS.make({"m1": m1, "m2": m2}, PLAN, "9-mine")
    assert made.names[0] == f"h0.kubewright-verify-9-mine.kube-system.svc.{PLAN.domain}"
    assert made.pods == {"10.244.1.2": "coredns-a on w1"}
    assert "apply -f -" in m2.asked[0]
    assert f"-l '{news.LABEL} in (1-old)'" in m2.asked[1] and len(m2.asked) == 2
    news.NEWS.remove({"m1": m1, "m2": m2}, PLAN, "9-mine")
    assert f"-l '{news.LABEL} in (9-mine)'" in m2.asked[2]


def test_without_a_master_that_can_make_the_service_each_reason_is_reported() -> None:
    with pytest.raises(AssertionError, match=re.escape("(m1: refused; m2: refused)")):
        news.NEWS.make({"m1": _said("", "refused", 1), "m2": _said("", "refused", 1)}, PLAN, "1-a")
    with pytest.raises(AssertionError, match="is left in kube-system"):
        news.NEWS.remove({"m1": _said("", "refused", 1)}, PLAN, "1-a")


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
    hosts = {n.name: _said(VXLAN.format(i) if n.name != "m3" else "") for i, n in enumerate(PLAN.kubelets)}
    networks = NETWORKS.make(hosts, PLAN, "1-a")
    assert networks.keys() == {"m1", "m2", "w1", "w2"}
    host = _said("")
    assert not _run(FLANNEL, "reaches", host, networks)
    assert re.findall(r"10\.244\.\d+\.0/\d+", host.asked[0]) == ["10.244.1.0/10256", "10.244.3.0/10256", "10.244.4.0/10256"]


def test_a_host_whose_pods_are_not_reached_is_named_with_the_route_there() -> None:
    networks = {"w1": pod_network(VXLAN.format(1)), "w2": pod_network(VXLAN.format(2))}
    said = "10.244.2.0/10256 no answer in 3 s\nroute 10.244.2.0 10.244.2.0 via 10.0.2.2 dev eth0 src 10.0.2.15\n"
    why = _run(FLANNEL, "reaches", _said(said), networks)
    assert "w2 (10.244.2.0: no answer in 3 s; its route: 10.244.2.0 via 10.0.2.2 dev eth0" in why and "w1" not in why
    assert "restart flannel" in why


@pytest.mark.parametrize(("via", "holds"), [("10.90.0.22", True), ("10.90.0.2", False), ("10.0.2.2", False)])
def test_with_host_gw_and_no_pod_yet_the_route_must_lead_to_the_host(via: str, holds: bool) -> None:
    networks = {"w2": pod_network(ADDRESSES.format(2))}
    why = _run(FLANNEL, "reaches", _said(f"route 10.244.2.1 10.244.2.1 via {via} dev eth1 src 10.90.0.11\n"), networks)
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
    said = _run(DATA_CHECKS, "alarm", _said(raised + STATUS))
    assert (why in said and raised.split(":")[2].strip() in said) if why else not said


def test_a_failed_question_about_alarms_fails_the_check() -> None:
    assert "deadline exceeded" in _run(DATA_CHECKS, "alarm", _said("", "context deadline exceeded", 1))


def test_a_write_that_a_member_refuses_is_reported() -> None:
    host = _said("OK\n1\n")
    assert not _run(DATA_CHECKS, "write", host, node="m2")
    assert "put /kubewright/verify/m2 " in host.asked[0] and "del /kubewright/verify/m2 " in host.asked[0]
    assert "database space exceeded" in _run(DATA_CHECKS, "write", _said("", "etcdserver: mvcc: database space exceeded", 1))
    assert "another value was read" in _run(DATA_CHECKS, "write", _said("OK\n1\n", "", 1))
