"""kube-proxy's checks with recorded answers: its rules and when it wrote them."""

from __future__ import annotations

import pytest

from roles.kube_proxy.checks import CHECKS as KUBE_PROXY
from roles.kube_proxy.checks import endpoints
from tests.support.recorded import API, DNS, MASTERS, saying, why_not

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


# As a lab's nft 1.0.6 lists what kube-proxy 1.37.1 writes: one endpoint has a rule of its own form.
NFT_DNAT = """\
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
    if form == "nft, from 1.36 on":
        return NFT_DNAT.format(dns=dns, api=API, rule=_rule(ends))
    to = ", ".join(GOTO.format(end.replace(":", "/"), i) for i, end in enumerate(ends))
    return NFT.format(dns=dns, api=API, to=to)


GOOD = [f"{m}:6443" for m in MASTERS]


def test_nft_rules_for_one_master_are_read() -> None:
    assert endpoints(_rules("nft, from 1.36 on", ["10.90.0.11:6443"])) == {"10.90.0.11:6443"}


@pytest.mark.parametrize("form", ["iptables", "nft", "nft, from 1.36 on"])
def test_rules_lead_to_the_masters_and_to_dns(form: str) -> None:
    assert not why_not(KUBE_PROXY, "its rules", saying(_rules(form, GOOD)))
    stale = why_not(KUBE_PROXY, "its rules", saying(_rules(form, [*GOOD, "10.90.0.11:7443"])))
    assert f"{API}:443 leads to 10.90.0.11:6443, 10.90.0.11:7443" in stale
    assert "leads to nothing" in why_not(KUBE_PROXY, "its rules", saying(_rules(form, [])))
    assert f"no rule leads on from {DNS}:" in why_not(KUBE_PROXY, "its rules", saying(_rules(form, GOOD, dns=f"{DNS}1")))


def test_missing_rules_are_reported() -> None:
    said = why_not(KUBE_PROXY, "its rules", saying(rc=1))
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
    said = why_not(KUBE_PROXY, "written", saying(METRICS.format(queued=queued)))
    assert (why in said) if why else not said


def test_kube_proxy_without_metrics_is_reported() -> None:
    assert "Failed to connect" in why_not(KUBE_PROXY, "written", saying("1795715040\n", "curl: (7) Failed to connect", 1))


def test_the_api_is_asked_through_its_service_address() -> None:
    host = saying("ok")
    assert not why_not(KUBE_PROXY, "Service address", host, node="w1")
    assert f"--cacert /etc/kubernetes/pki/ca.crt https://{API}:443/readyz" in host.asked[0]
    assert "Connection timed out" in why_not(KUBE_PROXY, "Service address", saying("", "curl: (28) Connection timed out", 28))
