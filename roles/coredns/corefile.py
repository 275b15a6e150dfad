"""The Corefile of both providers. Pure.

Each zone is a server block: CoreDNS answers with the block of the longest zone that the name is in. The block of the cluster's
names caches for seconds only, so that a change is soon seen. [coredns 1.15: plugin/{kubernetes,etcd,cache,forward,template}]
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from kubewright.model.cluster import Plan
from kubewright.model.etcd_rights import SKYDNS_PREFIX
from kubewright.spec.reverse import reverse_zones

PKI = "/etc/coredns/pki"
"""The folder of CoreDNS' certificate for etcd, on hosts and in its pods."""
CACHE_SECONDS = 3
"""A change reaches the API's watchers, or etcd through kube2sky, within a second: together less than five."""
_CAPACITY = 9984
"""CoreDNS' own default; a shorter time can't be given without it."""
_REVERSE = ("in-addr.arpa", "ip6.arpa")
# The template's answer for 10-0-0-1.NAMESPACE.pod.DOMAIN; a number above 255 is no address.
_OCTET = "(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"


def corefile(plan: Plan, *, forwards: bool, pki: str = PKI, port: int = 53) -> str:
    """The Corefile. `forwards`: whether the DNS servers of CoreDNS' host can be asked, where the plan names none.

    `pki`: the folder with `coredns.crt`, `coredns.key` and `ca.crt`, for skydns.
    """
    forward = tuple(_forward(_upstreams(plan, forwards)))
    zones = (plan.domain, *plan.dns_zones, *reverse_zones(plan.services), *reverse_zones(plan.pods), *_REVERSE)
    source = _etcd(plan, pki) if plan.has_skydns else _kubernetes(plan)
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


def _kubernetes(plan: Plan) -> Iterator[str]:
    yield f"kubernetes {plan.domain} {' '.join(_REVERSE)} {{"
    yield from ("    pods insecure", f"    fallthrough {' '.join(_REVERSE)}", f"    ttl {CACHE_SECONDS}", "}")


def _etcd(plan: Plan, pki: str) -> Iterator[str]:
    yield from _pods(plan.domain)
    yield f"template IN TXT dns-version.{plan.domain} {{"
    yield from (f'    answer "{{{{ .Name }}}} {CACHE_SECONDS} IN TXT 1.1.0"', "}")
    yield f"etcd {' '.join((plan.domain, *plan.dns_zones, *_REVERSE))} {{"
    yield f"    path {SKYDNS_PREFIX}"
    yield f"    endpoint {' '.join(plan.etcd_endpoints)}"
    yield f"    tls {pki}/coredns.crt {pki}/coredns.key {pki}/ca.crt"
    # The name of the zone itself is no name of all that is in it.
    yield "    no_apex_fallback"
    yield f"    fallthrough {' '.join(_REVERSE)}"
    yield "}"


def _pods(domain: str) -> Iterator[str]:
    """A-B-C-D.NAMESPACE.pod.DOMAIN, which no etcd need hold: the name says the address."""
    match = rf"^{'-'.join([_OCTET] * 4)}[.][^.]+[.]pod[.]{domain.replace('.', '[.]')}[.]$"
    address = ".".join(f"{{{{ index .Match {number} }}}}" for number in range(1, 5))
    yield f"template IN A pod.{domain} {{"
    yield from (f'    match "{match}"', f'    answer "{{{{ .Name }}}} {CACHE_SECONDS} IN A {address}"', "    fallthrough", "}")
    yield f"template IN ANY pod.{domain} {{"
    soa = f"{domain}. {CACHE_SECONDS} IN SOA ns.dns.{domain}. hostmaster.{domain}. 1 7200 1800 86400 {CACHE_SECONDS}"
    yield from (f'    match "{match}"', "    rcode NOERROR", f'    authority "{soa}"', "    fallthrough", "}")
