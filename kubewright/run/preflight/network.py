"""Findings on what hosts are to each other: addresses, packet sizes, ports and who reaches whom."""

from __future__ import annotations

from collections.abc import Iterator

from kubewright.errors import Problem
from kubewright.model.cluster import Node
from kubewright.observe.observed import Observed
from kubewright.plan import backends
from kubewright.plan.listeners import COMM
from kubewright.plan.together import together
from kubewright.run.preflight.cluster import Cluster

POD_MTU = 1280
"""The least that pods get by with: IPv6's minimum, and DNS answers over UDP are made to fit it (1232 bytes of data)."""
OVERHEAD = {"vxlan": 50, "wireguard": 80}
"""Bytes of each packet that flannel's backend takes for itself."""

IMAGES = "/etc/containerd/images"
"""A file here for each image that kubewright has imported (`roles/containerd`)."""


def findings(cluster: Cluster, node: Node, host: Observed) -> Iterator[Problem]:
    yield from _address(node, host)
    yield from _mtu(cluster, node, host)
    yield from _nameservers(cluster, node, host)
    yield from _backend(cluster, node, host)
    yield from _ports(cluster, node, host)


def _address(node: Node, host: Observed) -> Iterator[Problem]:
    if str(node.address) not in host.addresses:
        yield Problem(
            where=node.name,
            what=f"no interface has its address ({node.address})",
            allowed=f"one of its own: {', '.join(a for a in host.addresses if not a.startswith('127.'))}",
            todo="correct hosts[].address in cluster.yaml, or ssh.host if this is another machine",
        )


def _mtu(cluster: Cluster, node: Node, host: Observed) -> Iterator[Problem]:
    backend, interface = cluster.plan.backend, host.interfaces.get(str(node.address))
    if backend not in OVERHEAD or interface is None or not node.runs_pods:
        return
    needed = POD_MTU + OVERHEAD[backend]
    if interface.mtu < needed:
        yield Problem(
            where=node.name,
            what=f"the MTU of {interface.name}, which has its address, is too small for {backend} ({interface.mtu})",
            allowed=f"at least {needed}, so that pods have {POD_MTU}",
            todo=f"ip link set {interface.name} mtu 1500, and in the system's network settings, if the network carries it",
        )


def _nameservers(cluster: Cluster, node: Node, host: Observed) -> Iterator[Problem]:
    # CoreDNS would ask itself for ever, notice it, and end [coredns: plugin/loop].
    if host.own_nameserver and node.runs_pods and not cluster.plan.dns_upstreams:
        yield Problem(
            where=node.name,
            what=f"its DNS server is on its own loopback ({host.resolv_conf}), which CoreDNS in a pod would take for itself",
            allowed="DNS servers that pods reach too",
            todo="name the DNS servers of the network as network.dns_upstreams in cluster.yaml",
        )


def _backend(cluster: Cluster, node: Node, host: Observed) -> Iterator[Problem]:
    others = {str(n.address): n.name for n in cluster.plan.kubelets}
    if found := {others[a]: gateway for a, gateway in host.gateways.items() if a in others}:
        names = ", ".join(f"{name} through {gateway}" for name, gateway in sorted(found.items()))
        yield Problem(
            where=node.name,
            what=f"host-gw needs a direct route to every other host, and some are behind a gateway ({names})",
            allowed="hosts in one network segment",
            todo="set network.backend to vxlan, or move the hosts into one segment",
        )
    if host.lacks_wireguard:
        yield Problem(
            where=node.name,
            what=f"its kernel has no WireGuard ({host.kernel})",
            allowed="a kernel in which `ip link add NAME type wireguard` works",
            todo="install the kernel's module wireguard, or set network.backend to vxlan or host-gw",
        )


def left_out(cluster: Cluster) -> Iterator[Problem]:
    """Hosts without which flannel's backend can't be changed: their pods would be cut off."""
    plan, seen = cluster.plan, together(cluster.plan, cluster.observed)
    absent = sorted(n.name for n in plan.kubelets if n.name in plan.absent and str(n.address) in seen.leases)
    if absent and backends.changing(plan, seen):
        yield Problem(
            where=", ".join(absent),
            what=f"left out, while flannel's backend changes to {plan.backend}: pods there would be cut off",
            allowed="a change of network.backend on all hosts",
            todo="apply without --without, or delete the lost host's Node and remove the host from cluster.yaml first",
        )


def _ports(cluster: Cluster, node: Node, host: Observed) -> Iterator[Problem]:
    for role in (r for r in cluster.roles if r.runs_on(node)):
        if any(host.runs(unit) or unit in host.started_with for unit in role.units):
            continue
        for port in role.ports(cluster.plan, node):
            if port.process and (taken := host.listening.get((port.protocol, port.number))) is not None:
                # Pods of an add-on, whose image kubewright has imported: the role has no unit that would show it.
                if not role.units and taken == port.process[:COMM] and f"{IMAGES}/{port.process}" in host.entries:
                    continue
                yield Problem(
                    where=node.name,
                    what=f"port {port.number} is taken (by {taken or 'an unnamed process'})",
                    allowed=f"a port that is free for {port.process}",
                    todo="stop what listens there, or move it",
                )


def blocked(cluster: Cluster) -> Iterator[Problem]:
    """Ports of peers that hosts tried and could not reach, each once, with the hosts that could not."""
    sources: dict[tuple[str, int], list[str]] = {}
    for node, host in cluster.hosts:
        for target in host.blocked:
            sources.setdefault(target, []).append(node.name)
    every = (port for ports in cluster.peer_ports.values() for port in ports)
    for port in (p for p in every if (p.address, p.port) in sources):
        peer = cluster.observed.get(port.node)
        # What does not answer at all, or is not at its address, is a finding of its own. firewalld's rules are ours to write.
        if peer is None or port.address not in peer.addresses or peer.firewalld:
            continue
        names = sources[port.address, port.port]
        why = cluster.observed[names[0]].blocked[port.address, port.port]
        yield Problem(
            where=", ".join(names),
            what=f"can't reach TCP port {port.port} of {port.node} ({port.address}: {why})",
            allowed=f"a connection from there to {port.process} on {port.node}",
            todo=f"open it in the firewall of {port.node}, and in those between (security groups)",
        )
