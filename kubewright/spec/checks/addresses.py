"""Ranges and addresses that must fit together."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Network

from kubewright.spec.model import ClusterSpec
from kubewright.spec.wording import Finding

UNUSABLE = {
    IPv4Network("0.0.0.0/8"): "means this host",
    IPv4Network("127.0.0.0/8"): "loopback",
    IPv4Network("169.254.0.0/16"): "link-local",
    IPv4Network("224.0.0.0/3"): "multicast or reserved",
}


def ranges_apart(spec: ClusterSpec) -> Iterator[Finding]:
    pods, services = spec.network.pods, spec.network.services
    if pods.overlaps(services):
        yield Finding(
            at=("network", "services"),
            what=f"overlaps the pods range ({services} and {pods})",
            allowed="ranges that share no address with each other or with hosts",
            todo="move one of them",
        )


def ranges_usable(spec: ClusterSpec) -> Iterator[Finding]:
    for name, network in (("pods", spec.network.pods), ("services", spec.network.services)):
        for unusable, why in UNUSABLE.items():
            if network.overlaps(unusable):
                yield Finding(
                    at=("network", name),
                    what=f"holds addresses that can't be routed ({network}: {unusable} is {why})",
                    allowed="a private range that your network does not use",
                    todo="choose a range within 10.0.0.0/8, 172.16.0.0/12 or 192.168.0.0/16",
                )


def services_size(spec: ClusterSpec) -> Iterator[Finding]:
    services = spec.network.services
    if not 12 <= services.prefixlen <= 28:
        size = "large" if services.prefixlen < 12 else "small"
        yield Finding(
            at=("network", "services"),
            what=f"too {size} a range ({services})",
            allowed="/12 to /28; kube-apiserver refuses larger ones, and smaller ones lack room for the DNS",
            todo="choose a range like 10.96.0.0/16",
        )


def pods_enough(spec: ClusterSpec) -> Iterator[Finding]:
    """flannel wants room for four parts at least, and leaves the first one unused."""
    pods, length, nodes = spec.network.pods, spec.network.pod_prefix_length, len(spec.nodes)
    parts = 2 ** (length - pods.prefixlen) - 1 if length >= pods.prefixlen + 2 else 0
    if parts < nodes:
        wide = length - max(2, nodes.bit_length())
        yield Finding(
            at=("network", "pods"),
            what=f"too small a range ({pods} has {parts or 'too few'} parts of /{length} for nodes: {nodes})",
            allowed="four parts at least, and one more than there are nodes",
            todo=f"choose a /{wide} or wider range, or a larger pod_prefix_length",
        )


def hosts_outside_ranges(spec: ClusterSpec) -> Iterator[Finding]:
    for index, host in enumerate(spec.hosts):
        for name, network in (("pods", spec.network.pods), ("services", spec.network.services)):
            if host.address in network:
                yield Finding(
                    at=("hosts", index, "address"),
                    what=f"inside the {name} range ({host.address} is in {network})",
                    allowed="an address outside network.pods and network.services",
                    todo=f"move network.{name}, or give the host another address",
                )


def hosts_usable(spec: ClusterSpec) -> Iterator[Finding]:
    for index, host in enumerate(spec.hosts):
        for unusable, why in UNUSABLE.items():
            if host.address in unusable:
                yield Finding(
                    at=("hosts", index, "address"),
                    what=f"no address that other hosts can reach ({host.address}: {unusable} is {why})",
                    allowed="the host's own address in the network that the hosts share",
                    todo="write that address; how SSH reaches the host goes under its `ssh`",
                )


def dns_in_services(spec: ClusterSpec) -> Iterator[Finding]:
    services, dns = spec.network.services, spec.network.dns
    if dns is None or services.num_addresses < 4:
        return
    wrong = {services[0]: "the range's own address", services[1]: "the API's", services[-1]: "the broadcast address"}
    if dns not in services:
        what = f"outside the services range ({dns} is not in {services})"
    elif dns in wrong:
        what = f"not free in the services range ({dns} is {wrong[dns]})"
    else:
        return
    yield Finding(
        at=("network", "dns"),
        what=what,
        allowed=f"{services[2]} to {services[-2]}",
        todo="choose one of them, or remove the line: the tenth address is taken then",
    )
