"""The Corefile of both providers. Pure.

Each zone is a server block: CoreDNS answers with the block of the longest zone that the name is in. The block of the cluster's
names caches for seconds only, so that a change is soon seen. [coredns 1.15: plugin/{kubernetes,etcd,cache,forward,template}]
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from kubewright.model.certificates import ROWS
from kubewright.model.cluster import Plan
from kubewright.model.etcd_rights import SKYDNS_PREFIX
from kubewright.spec.reverse import REVERSE, reverse_zones

PKI = ROWS["coredns-etcd"].path.rpartition("/")[0]
"""The folder of CoreDNS' certificate for etcd, on hosts and in its pods."""
CACHE_SECONDS = 3
"""A change reaches the API's watchers, or etcd through kube2sky, within a second: together less than five."""
_CAPACITY = 9984
"""CoreDNS' own default; a shorter time can't be given without it."""
_OCTET = "(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"


def corefile(plan: Plan, *, forwards: bool, pki: str = PKI, port: int = 53) -> str:
    """The Corefile. `forwards`: whether the DNS servers of CoreDNS' host can be asked, where the plan names none.

    `pki`: the folder with `coredns.crt`, `coredns.key` and `ca.crt`, for skydns.
    """
    forward = tuple(_forward(_upstreams(plan, forwards)))
    zones = (plan.domain, *plan.dns_zones, *reverse_zones(plan.services), *reverse_zones(plan.pods), *REVERSE)
    asks_on = bool(forward)
    source = _etcd(plan, pki, asks_on=asks_on) if plan.has_skydns else _kubernetes(plan, asks_on=asks_on)
    blocks = (
        _block(zones, port, ("ready", *source, *_cache(stale=plan.has_skydns), *forward, "loadbalance")),
        *(
            _block((domain,), port, ("cache 30", *_forward(servers), "loadbalance"))
            for domain, servers in sorted(plan.dns_stub_domains.items())
        ),
        _block((".",), port, ("health {", "    lameduck 5s", "}", *forward, "cache 30", "loop", "reload", "loadbalance")),
    )
    return "\n".join(blocks)


def _block(zones: Iterable[str], port: int, lines: Iterable[str]) -> str:
    keys = " ".join(f"{zone}:{port}" for zone in dict.fromkeys(zones))
    inner = ("errors", "prometheus :9153", *lines)
    return f"{keys} {{\n" + "".join(f"    {line}\n" for line in inner) + "}\n"


def _upstreams(plan: Plan, forwards: bool) -> tuple[str, ...]:
    return plan.dns_upstreams or (("/etc/resolv.conf",) if forwards else ())


def _forward(servers: Iterable[str]) -> Iterator[str]:
    if servers := tuple(servers):
        yield from (f"forward . {' '.join(servers)} {{", "    max_concurrent 1000", "}")


def _cache(*, stale: bool) -> Iterator[str]:
    yield f"cache {CACHE_SECONDS} {{"
    for kind in ("success", "denial"):
        yield f"    {kind} {_CAPACITY} {CACHE_SECONDS} 1"
    if stale:
        # While etcd elects a leader: after a second, the last answer.
        yield "    serve_stale 1h verify 1s"
    yield "}"


def _kubernetes(plan: Plan, *, asks_on: bool) -> Iterator[str]:
    yield f"kubernetes {plan.domain} {' '.join(REVERSE)} {{"
    yield from ("    pods insecure", *_on(asks_on), f"    ttl {CACHE_SECONDS}", "}")


def _on(asks_on: bool) -> Iterator[str]:
    """Unknown addresses are asked upstream, if there is one: other networks have names too."""
    if asks_on:
        yield f"    fallthrough {' '.join(REVERSE)}"


def _etcd(plan: Plan, pki: str, *, asks_on: bool) -> Iterator[str]:
    domain = plan.domain
    octets = "-".join([_OCTET] * 4)
    address = ".".join(f"{{{{ index .Match {number} }}}}" for number in range(1, 5))
    pod = rf"^{octets}[.][^.]+[.]pod[.]{_literal(domain)}[.]$"
    # A-B-C-D.NAMESPACE.pod: the name says the address, so etcd need not hold it.
    yield from _template("A", domain, pod, answer=f"{{{{ .Name }}}} {CACHE_SECONDS} IN A {address}")
    yield from _template("ANY", domain, pod)
    version = f"^dns-version[.]{_literal(domain)}[.]$"
    yield from _template("TXT", domain, version, answer=f"{{{{ .Name }}}} {CACHE_SECONDS} IN TXT 1.1.0")
    # etcd would answer for these names with all that is below them.
    yield from _template("ANY", domain, f"^((svc|pod|dns-version)[.])?{_literal(domain)}[.]$", apex=True)
    for zone in plan.dns_zones:
        yield from _template("ANY", zone, f"^{_literal(zone)}[.]$", apex=True)
    yield f"etcd {' '.join((domain, *plan.dns_zones, *REVERSE))} {{"
    yield f"    path {SKYDNS_PREFIX}"
    yield f"    endpoint {' '.join(plan.etcd_endpoints)}"
    yield f"    tls {pki}/coredns.crt {pki}/coredns.key {pki}/ca.crt"
    yield from ("    no_apex_fallback", *_on(asks_on), "}")


def _literal(domain: str) -> str:
    return domain.replace(".", "[.]")


def _template(kind: str, zone: str, match: str, *, answer: str = "", apex: bool = False) -> Iterator[str]:
    """A template plugin: the answer, or without one that the name exists and has no such record. `apex`: SOA has one."""
    soa = f"{zone}. {CACHE_SECONDS} IN SOA ns.dns.{zone}. hostmaster.{zone}. 1 7200 1800 86400 {CACHE_SECONDS}"
    if apex:
        yield from _template("SOA", zone, f"^{_literal(zone)}[.]$", answer=soa)
    yield f"template IN {kind} {zone} {{"
    yield f'    match "{match}"'
    yield from (f'    answer "{answer}"',) if answer else ("    rcode NOERROR", f'    authority "{soa}"')
    yield from ("    fallthrough", "}")
