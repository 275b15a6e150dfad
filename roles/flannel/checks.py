"""Checks of the pods' network on one host: the host has a subnet, and reaches every other host's."""

from __future__ import annotations

import re
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from typing import Any

from kubewright.model.cluster import PROXY_HEALTH_PORT, Node, Plan
from kubewright.plan import peers
from kubewright.plan.role import Check, Fixture, on_kubelets

SUBNET = "/run/flannel/subnet.env"
_RESTART = "restart flannel on both hosts (systemctl restart flanneld), and let UDP of the backend pass between them"


@dataclass(frozen=True, kw_only=True)
class PodNetwork:
    """A host's pods: their subnet, and the host's own address in it."""

    subnet: IPv4Network
    address: IPv4Address | None
    """flannel's own device has one with vxlan and WireGuard. With host-gw only cni0 has one, which the first pod creates."""


def _subnet(host: Any, plan: Plan, _node: Node) -> None:
    text = host.file(SUBNET).content_string
    assert f"FLANNEL_NETWORK={plan.pods}" in text, f"{SUBNET} names another network than {plan.pods}"


def _networks(hosts: Mapping[str, Any], _plan: Plan, _name: str) -> dict[str, PodNetwork]:
    command = f"cat {SUBNET}; ip -4 -o addr show"
    with ThreadPoolExecutor(len(hosts)) as pool:
        said = pool.map(lambda host: host.run(command).stdout, hosts.values())
    found = {name: pod_network(text) for name, text in zip(hosts, said, strict=True)}
    return {name: network for name, network in found.items() if network}


def pod_network(said: str) -> PodNetwork | None:
    """From a host's subnet file and its addresses; None when flannel has given it none."""
    given = re.search(r"FLANNEL_SUBNET=(\S+)", said)
    if not given:
        return None
    subnet = IPv4Network(given[1], strict=False)
    addresses = [IPv4Address(a) for a in re.findall(r"^\d+: \S+ +inet ([\d.]+)/", said, re.MULTILINE)]
    return PodNetwork(subnet=subnet, address=next((a for a in addresses if a in subnet), None))


def _reaches(host: Any, plan: Plan, node: Node, networks: Mapping[str, PodNetwork]) -> None:
    others = {n.name: networks[n.name] for n in plan.kubelets if n != node and n.name in networks}
    said = host.run(_question(others)).stdout
    problems = [p for name, network in others.items() if (p := _problem(plan.node(name), network, said))]
    assert not problems, f"pods on this host can't reach pods on {'; '.join(problems)}; {_RESTART}"


def _question(others: Mapping[str, PodNetwork]) -> str:
    """Shell that tries all of them in parallel, and prints the route to each that is not reached or has no address to try."""
    peer_ports = [
        peers.PeerPort(node=name, address=str(n.address), port=PROXY_HEALTH_PORT, process="kube-proxy")
        for name, n in others.items()
        if n.address
    ]
    route = 'echo "route $a $(ip -4 -o route get "$a" 2>&1)"'
    untried = " ".join(str(n.subnet[1]) for n in others.values() if not n.address)
    failed = f'{peers.probes(peer_ports)} | while read -r w why; do echo "$w $why"; a=${{w%/*}}; {route}; done'
    return f"{failed}; for a in {untried}; do {route}; done" if untried else failed


def _problem(other: Node, network: PodNetwork, said: str) -> str:
    tried = network.address or network.subnet[1]
    why = re.search(rf"^{re.escape(str(tried))}/\d+ (.*)$", said, re.MULTILINE)
    route = re.search(rf"^route {re.escape(str(tried))} (.*)$", said, re.MULTILINE)
    way = " ".join(route[1].split()) if route else ""
    if network.address:
        return f"{other.name} ({tried}: {why[1]}; its route: {way})" if why else ""
    # Nothing answers there, so check the route: to the host itself, as with host-gw.
    return "" if f" via {other.address} " in f"{way} " else f"{other.name} ({network.subnet} is routed wrongly: {way})"


NETWORKS = Fixture(title="every host tells its pods' subnet", on=on_kubelets, make=_networks)
CHECKS = (
    Check(title="has a subnet of the pods' network", run=_subnet),
    Check(title="reaches every other host's pods' network", run=_reaches, needs=NETWORKS),
)
