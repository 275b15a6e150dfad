"""The DNS settings of cluster.yaml that are accepted, and the reverse zones of ranges. Bad ones are in bad_inputs.txt."""

from __future__ import annotations

from ipaddress import IPv4Network
from pathlib import Path

import pytest

from kubewright.model.build import make_plan
from kubewright.spec import loads
from kubewright.spec.reverse import reverse_zones

ONE_HOST = "name: prod\nhosts:\n  - {name: m1, address: 192.0.2.11, roles: [master]}\n"


def test_without_any_setting_coredns_asks_the_hosts_servers() -> None:
    plan = make_plan(loads(ONE_HOST.encode(), folder=Path("/tmp")))
    assert (plan.dns_provider, plan.dns_upstreams, plan.dns_stub_domains, plan.dns_zones) == ("coredns", (), {}, ())
    assert not plan.has_skydns and not plan.nodes[0].has_skydns


def test_every_dns_setting_reaches_the_plan() -> None:
    text = f"""{ONE_HOST}network:
  dns_provider: skydns
  dns_upstreams: [192.0.2.53, "192.0.2.53:5353", 169.254.169.253]
  dns_stub_domains: {{corp.example.org: [192.0.2.54], local: [192.0.2.55]}}
  dns_zones: [example.org, lab.example.net]
"""
    plan = make_plan(loads(text.encode(), folder=Path("/tmp")))
    assert plan.has_skydns and all(node.has_skydns for node in plan.nodes)
    assert plan.dns_upstreams == ("192.0.2.53", "192.0.2.53:5353", "169.254.169.253")
    assert plan.dns_stub_domains == {"corp.example.org": ("192.0.2.54",), "local": ("192.0.2.55",)}
    assert plan.dns_zones == ("example.org", "lab.example.net")


@pytest.mark.parametrize(
    ("network", "zones"),
    [
        ("10.0.0.0/8", ["10.in-addr.arpa"]),
        ("10.96.0.0/16", ["96.10.in-addr.arpa"]),
        ("10.96.0.0/15", ["96.10.in-addr.arpa", "97.10.in-addr.arpa"]),
        ("10.96.4.0/24", ["4.96.10.in-addr.arpa"]),
        ("10.96.4.0/23", ["4.96.10.in-addr.arpa", "5.96.10.in-addr.arpa"]),
        ("10.96.4.16/28", ["4.96.10.in-addr.arpa"]),
    ],
)
def test_the_reverse_zones_of_a_range_end_at_whole_octets(network: str, zones: list[str]) -> None:
    assert list(reverse_zones(IPv4Network(network))) == zones


def test_a_large_range_has_a_zone_for_each_of_its_parts() -> None:
    zones = reverse_zones(IPv4Network("10.96.0.0/12"))
    assert (len(zones), zones[0], zones[-1]) == (16, "96.10.in-addr.arpa", "111.10.in-addr.arpa")
