"""The cluster as all hosts show it together. Computed once a run, after the hosts were observed. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from kubewright.model.cluster import Node, Plan
from kubewright.observe import facts
from kubewright.observe.live import PodSubnet
from kubewright.observe.observed import Observed
from kubewright.releases import systems as tables


@dataclass(frozen=True, kw_only=True)
class Together:
    """Empty where no host was asked."""

    master: str = ""
    """The master that does the cluster-wide work through the API: the first whose API answers, else the first."""
    member: str = ""
    """The host that does the cluster-wide work in etcd, chosen in the same way."""
    nodes: frozenset[str] = frozenset()
    """The nodes that are registered."""
    needs_nftables: bool = False
    """Whether some node's kernel has no iptables, so that rules for all nodes must be in nftables."""
    has_nameserver: bool = False
    """Whether some master has a nameserver that CoreDNS can forward to."""
    backend: str = ""
    """The backend in flannel's configuration in etcd; empty when etcd does not answer."""
    subnets: tuple[PodSubnet, ...] = ()
    """flannel's leases for hosts of the plan."""

    @cached_property
    def leases(self) -> Mapping[str, PodSubnet]:
        """They, by the host's address."""
        return {lease.address: lease for lease in self.subnets}

    def seen(self, plan: Plan, observed: Mapping[str, Observed]) -> Together:
        """The same, with flannel's state as `observed` shows it now."""
        etcd = observed[self.member].etcd if self.member in observed else None
        if etcd is None:
            return self
        ours = {str(node.address) for node in plan.kubelets}
        return replace(self, backend=etcd.backend, subnets=tuple(one for one in etcd.leases if one.address in ours))


def together(plan: Plan, observed: Mapping[str, Observed]) -> Together:
    """The cluster as `observed` shows it, without left-out hosts."""
    found = Together(
        master=_acting(plan.masters, observed, facts.API),
        member=_acting(plan.etcd_members, observed, facts.ETCD),
        nodes=frozenset(node.name for host in observed.values() for node in (host.api.nodes if host.api else ())),
        needs_nftables=any(_needs_nftables(observed[n.name]) for n in plan.kubelets if n.name in observed)
        # A left-out host may be the one that needs it: keep the current value.
        or (any(n.name not in observed for n in plan.kubelets) and _has_nftables(observed)),
        has_nameserver=any(observed[n.name].has_nameserver for n in plan.masters if n.name in observed),
    )
    return found.seen(plan, observed)


def _acting(nodes: Sequence[Node], observed: Mapping[str, Observed], answers: str) -> str:
    there = [n.name for n in nodes if n.name in observed]
    return next((name for name in there if answers in observed[name].facts), next(iter(there), ""))


def _needs_nftables(host: Observed) -> bool:
    system = tables.system_of(host.os_id, host.os_version)
    return system is not None and not system.iptables_in_kernel


def _has_nftables(observed: Mapping[str, Observed]) -> bool:
    for host in observed.values():
        try:
            if json.loads(host.facts.get(facts.NETWORK, "null"))["EnableNFTables"] is True:
                return True
        except (ValueError, TypeError, KeyError):
            continue
    return False
