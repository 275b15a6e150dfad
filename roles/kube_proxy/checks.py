"""Checks of kube-proxy on one host: it is alive, has written the API's Services, and packets reach them."""

from __future__ import annotations

import re
from typing import Any

from kubewright.model.cluster import PROXY_HEALTH_PORT, PROXY_METRICS_PORT, Node, Plan
from kubewright.plan.role import Check

LATE_SECONDS = 10
"""A change that waits this long is stuck: a sync takes less than a second, and they are a second apart."""
_METRIC = re.compile(r'kubeproxy_sync_proxy_rules_last_(queued_)?timestamp_seconds\{ip_family="IPv4"\} (\S+)')
# Of iptables-save, "-A KUBE-SVC-x ... --comment "default/kubernetes:https -> 10.0.0.1:6443" ... -j KUBE-SEP-x"; of nft,
# "0 : goto endpoint-x-default/kubernetes/tcp/https__10.0.0.1/6443" [kubernetes: pkg/proxy/{iptables,nftables}/proxier.go].
_ENDPOINT = re.compile(r"(?:default/kubernetes:https -> |goto endpoint-\w+-default/kubernetes/tcp/https__)([\d.]+)[:/](\d+)")
# From 1.36 on, nft's chain of the Service has "map { 0 : 10.0.0.1 . 6443, ... }"; from 1.37 on, "dnat to 10.0.0.1:6443" for one
# endpoint [the same, writeServiceToEndpointDNATs].
_CHAIN = re.compile(r"chain service-\w+-default/kubernetes/tcp/https \{(.*?)(?:\n\s*\}|\Z)", re.DOTALL)
_TARGET = re.compile(r"\b((?:\d+\.){3}\d+)(?::| \. )(\d+)\b")
# In either mode: the other one has no such rules. -A4: the rules of a chain of nft follow its name.
_RULES = "{ nft list table ip kube-proxy; iptables-save -t nat; } 2>/dev/null | grep -F -A4 "
_RESTART = "restart it: systemctl restart kube-proxy"


def _healthy(host: Any, _plan: Plan, _node: Node) -> None:
    answer = host.run(f"curl -fsS -m 5 http://127.0.0.1:{PROXY_HEALTH_PORT}/healthz")
    assert answer.rc == 0, f"/healthz: {answer.stdout or answer.stderr}"


def _synced(host: Any, _plan: Plan, _node: Node) -> None:
    metrics = f"http://127.0.0.1:{PROXY_METRICS_PORT}/metrics"
    answer = host.run(f"date +%s; curl -fsS -m 5 {metrics} | grep ^kubeproxy_sync_proxy_rules_last_")
    now, _, rest = answer.stdout.partition("\n")
    at = {kind: float(value) for kind, value in _METRIC.findall(rest)}
    why = answer.stderr.strip() or "no such metric"
    assert at.get(""), f"it has not said when it wrote its rules ({why}); see journalctl -u kube-proxy"
    queued, synced = at.get("queued_", 0.0), at[""]
    late = float(now) - queued
    assert queued <= synced or late < LATE_SECONDS, (
        f"a change has waited {late:.0f} s for its rules, the last ones were written {float(now) - synced:.0f} s ago; "
        f"see journalctl -u kube-proxy, then {_RESTART}"
    )


def _rules(host: Any, plan: Plan, _node: Node) -> None:
    kept = f"-e default/kubernetes -e {plan.dns_address} -e {plan.api_service_address}"
    said = host.run(_RULES + kept).stdout
    absent = [str(a) for a in (plan.api_service_address, plan.dns_address) if not _leads_on(said, str(a))]
    assert not absent, f"no rule leads on from {', '.join(absent)}: packets to that Service are lost on this host; {_RESTART}"
    wanted = {f"{master.address}:{plan.api_port}" for master in plan.masters}
    found = endpoints(said)
    assert found == wanted, (
        f"{plan.api_service_address}:443 leads to {', '.join(sorted(found)) or 'nothing'} on this host, the masters' apiservers "
        f"are {', '.join(sorted(wanted))}; if the apiserver's check of the kubernetes Service holds, {_RESTART}"
    )


def endpoints(rules: str) -> set[str]:
    """The apiservers that the Service kubernetes leads to, as `address:port`."""
    chain = _CHAIN.search(rules)
    pairs = [*_ENDPOINT.findall(rules), *(_TARGET.findall(chain[1]) if chain else ())]
    return {f"{address}:{port}" for address, port in pairs}


def _leads_on(rules: str, address: str) -> bool:
    """Whether a rule sends packets for the Service address to the Service's chain."""
    escaped = re.escape(address)
    return bool(re.search(rf"-d {escaped}/32 .*-j KUBE-SVC-|\b{escaped} \. (?:tcp|udp) \. \d+ : goto service-", rules))


def _api_service(host: Any, plan: Plan, _node: Node) -> None:
    url = f"https://{plan.api_service_address}:443/readyz"
    answer = host.run(f"curl -sS -m 5 --cacert /etc/kubernetes/pki/ca.crt {url}")
    assert answer.stdout == "ok", (
        f"{url}: {answer.stdout.strip() or answer.stderr.strip()}; pods on this host can't reach the API; "
        "look at the apiservers' checks and at kube-proxy's rules on this host"
    )


CHECKS = (
    Check(title="/healthz answers", run=_healthy),
    Check(title="it has written the rules for what the API holds", run=_synced),
    Check(title="its rules lead to the API and to DNS", run=_rules),
    Check(title="the API answers through its Service address, over verified TLS", run=_api_service),
)
