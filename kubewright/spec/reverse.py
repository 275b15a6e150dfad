"""The reverse DNS zones of a range of addresses. Pure."""

from __future__ import annotations

from ipaddress import IPv4Network

REVERSE = ("in-addr.arpa", "ip6.arpa")
"""The zones of all reverse names (RFC 1035 and RFC 3596)."""


def reverse_zones(network: IPv4Network) -> tuple[str, ...]:
    """The zones below in-addr.arpa that together are `network`: 10.96.0.0/15 has 96.10.in-addr.arpa and 97.10.in-addr.arpa.

    A range within a /24 has that /24's zone, because a zone ends at a whole octet.
    """
    octets = min(3, max(1, -(-network.prefixlen // 8)))
    length = 8 * octets
    parts = network.subnets(new_prefix=length) if network.prefixlen <= length else (network.supernet(new_prefix=length),)
    return tuple(_zone(str(part.network_address), octets) for part in parts)


def _zone(address: str, octets: int) -> str:
    return ".".join((*reversed(address.split(".")[:octets]), "in-addr.arpa"))
