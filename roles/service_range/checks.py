"""The check that the services' range has free addresses. A full range is the API's error for one new Service; nobody else
sees it before."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network
from typing import Any

from kubewright.model.cluster import Node, Plan
from kubewright.plan.role import Check

KUBECTL = "/usr/local/bin/kubectl --kubeconfig=/etc/kubernetes/admin.conf"
WIDEST = 12
"""kube-apiserver takes no wider range."""
_RESERVE = 20
"""A twentieth of the addresses stays free, or the check fails."""


def _has_room(host: Any, plan: Plan, node: Node) -> None:
    if node != plan.first_master:
        return
    answer = host.run(f"{KUBECTL} get services -A -o jsonpath='{{range .items[*]}}{{.spec.clusterIP}}{{\"\\n\"}}{{end}}'")
    assert answer.rc == 0, answer.stderr
    used = len(_addresses(answer.stdout, plan.services))
    # The first and the last address of the range are never given out [kubernetes: pkg/registry/core/service/ipallocator].
    size = plan.services.num_addresses - 2
    assert size - used > size // _RESERVE, (
        f"{used} of the {size} addresses of network.services ({plan.services}) are in use; once all are, the API refuses new "
        f"Services (range is full); delete Services, or {_wider(plan.services)}"
    )


def _addresses(text: str, services: IPv4Network) -> set[str]:
    """Headless Services have None, ExternalName Services nothing; an older range's addresses may lie outside."""
    return {a for a in text.split() if a[0].isdigit() and IPv4Address(a) in services}


def _wider(services: IPv4Network) -> str:
    """A range up to eight times as wide. It must begin at the same address: the API and the DNS keep theirs."""
    wider = [services.supernet(new_prefix=length) for length in range(services.prefixlen - 1, WIDEST - 1, -1)]
    fitting = [one for one in wider if one.network_address == services.network_address][:3]
    if not fitting:
        return "make a second cluster: no wider range begins at the same address"
    return f"set a wider range, like {fitting[-1]}, in cluster.yaml, then kubewright apply"


CHECKS = (Check(title="the services' range has free addresses", run=_has_room),)
