"""DNS settings that must fit together, and with the cluster's own addresses and domain."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from ipaddress import IPv4Address, IPv4Network

from kubewright.spec.model import ClusterSpec
from kubewright.spec.reverse import REVERSE, reverse_zones
from kubewright.spec.wording import Finding, Place

MOST_SERVERS = 15
"""[coredns: plugin/forward/setup.go, max]."""
_LOOPBACK = IPv4Network("127.0.0.0/8")
_UNUSABLE = {
    IPv4Network("0.0.0.0/8"): "this host",
    IPv4Network("224.0.0.0/3"): "multicast or reserved",
}


def _address(server: str) -> IPv4Address:
    return IPv4Address(server.partition(":")[0])


def servers_usable(spec: ClusterSpec) -> Iterator[Finding]:
    network = spec.network
    yield from _servers(spec, ("network", "dns_upstreams"), network.dns_upstreams)
    for domain, servers in network.dns_stub_domains.items():
        at = ("network", "dns_stub_domains", domain)
        if not servers:
            yield Finding(
                at=at, what="no servers", allowed=f"1 to {MOST_SERVERS} DNS servers", todo="name one, or remove the line"
            )
        yield from _servers(spec, at, servers)


def _servers(spec: ClusterSpec, at: Place, servers: Sequence[str]) -> Iterator[Finding]:
    if len(servers) > MOST_SERVERS:
        yield Finding(
            at=at,
            what=f"too many DNS servers ({len(servers)})",
            allowed=f"at most {MOST_SERVERS}; CoreDNS refuses more",
            todo=f"keep the {MOST_SERVERS} nearest",
        )
    seen: set[tuple[IPv4Address, str]] = set()
    for index, server in enumerate(servers):
        address, port = _address(server), server.partition(":")[2] or "53"
        if why := _wrong(spec, address):
            yield Finding(
                at=(*at, index),
                what=f"{why} ({server})",
                allowed="a DNS server that pods can reach, but not the cluster's own",
                todo="name the server that this one forwards to, or remove the line",
            )
        elif (address, port) in seen:
            yield Finding(
                at=(*at, index), what=f"a server twice ({server})", allowed="each server once", todo="remove one of them"
            )
        seen.add((address, port))


def _wrong(spec: ClusterSpec, address: IPv4Address) -> str:
    """Why CoreDNS can't forward to `address`; empty: it can."""
    if address in _LOOPBACK:
        return "a loopback resolver, which is CoreDNS itself inside its pod: a forwarding loop"
    if address == spec.dns_ip:
        return "the cluster's own DNS: a forwarding loop"
    return next((f"no address of a DNS server: {what}" for network, what in _UNUSABLE.items() if address in network), "")


def _within(name: str, domain: str) -> bool:
    """Whether `name` is `domain` or below it."""
    return name == domain or name.endswith(f".{domain}")


def stub_domains_apart(spec: ClusterSpec) -> Iterator[Finding]:
    network = spec.network
    reverse = (*reverse_zones(network.services), *reverse_zones(network.pods))
    for domain in network.dns_stub_domains:
        if _within(domain, network.domain):
            what = f"the cluster's own domain or below it ({domain}; network.domain is {network.domain})"
        elif zone := next((zone for zone in reverse if _within(domain, zone)), ""):
            what = f"a reverse zone of the cluster's addresses ({domain}; {zone} belongs to network.services or network.pods)"
        elif domain in REVERSE:
            what = f"the zone of all reverse names, which the cluster's DNS answers first ({domain})"
        else:
            continue
        yield Finding(
            at=("network", "dns_stub_domains", domain),
            what=what,
            allowed="domains outside the cluster; it answers for its own names",
            todo="remove the line",
        )


def zones_apart(spec: ClusterSpec) -> Iterator[Finding]:
    network = spec.network
    if network.dns_zones and network.dns_provider != "skydns":
        yield Finding(
            at=("network", "dns_zones"),
            what=f"zones without a store (dns_provider is {network.dns_provider})",
            allowed="zones with dns_provider: skydns, which keeps their names in etcd",
            todo="set dns_provider: skydns, or remove the line; domains with a server elsewhere belong under dns_stub_domains",
        )
    for index, zone in enumerate(network.dns_zones):
        if why := _zone_wrong(spec, index, zone):
            yield Finding(
                at=("network", "dns_zones", index),
                what=f"{why} ({zone})",
                allowed="domains outside network.domain, each once",
                todo="remove it, or choose another domain",
            )


def _zone_wrong(spec: ClusterSpec, index: int, zone: str) -> str:
    network = spec.network
    if _within(zone, network.domain):
        return "the cluster's own domain or below it, whose names kube2sky writes"
    if _within(network.domain, zone):
        return f"a domain above the cluster's own, {network.domain}"
    if zone == "arpa" or _within(zone, "in-addr.arpa") or _within(zone, "ip6.arpa"):
        return "a reverse zone, whose names kube2sky writes"
    if zone in network.dns_zones[:index]:
        return "a zone that is named twice"
    if zone in network.dns_stub_domains:
        return "also a stub domain"
    return ""
