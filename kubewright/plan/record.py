"""The new lineage record: from the live cluster, the plan and the previous record. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from kubewright.model.cluster import Node, Plan
from kubewright.model.lineage import Lineage, Recorded, cluster_of, generation_of, updated
from kubewright.observe.live import Live
from kubewright.observe.observed import Observed
from kubewright.plan.transition import settings_of

CREATION = "creation"
"""The operation of a record whose cluster has not answered yet."""


def wanted(before: Lineage | None, live: Live, plan: Plan, observed: Mapping[str, Observed]) -> Lineage:
    """The record after an apply of `plan` on the hosts of `observed`. Its identity is empty until API and etcd have answered."""
    uid = live.uid or (before.uid if before else "")
    etcd_id = live.etcd.cluster_id if live.etcd else before.etcd_id if before else ""
    now = Lineage(
        name=plan.cluster,
        uid=uid,
        created=(live.api.created if live.api else "") or (before.created if before else ""),
        etcd_id=etcd_id,
        etcd_token=plan.etcd_token or _token(before, plan, observed),
        members=live.etcd.members if live.etcd else before.members if before else (),
        settings=settings_of(plan),
        first_services=(before.first_services if before else "") or _services(live) or str(plan.services),
        hosts=_hosts(before, live, plan, observed),
        operation="" if uid and etcd_id else CREATION,
    )
    return updated(before, now)


def _token(before: Lineage | None, plan: Plan, observed: Mapping[str, Observed]) -> str:
    """The latest generation of the cluster's token; without a record, the members' files have it."""
    known = [before.etcd_token] if before else [host.etcd_token for host in observed.values()]
    ours = [found for found in known if cluster_of(found) == plan.cluster]
    return max([plan.cluster, *ours], key=generation_of)


def _services(live: Live) -> str:
    return live.api.services if live.api else ""


def _hosts(before: Lineage | None, live: Live, plan: Plan, observed: Mapping[str, Observed]) -> dict[str, Recorded]:
    """The hosts of this run, and those of the previous record that are still in cluster.yaml or in the cluster."""
    present = {node.name for node in plan.nodes} | {node.name for node in (live.api.nodes if live.api else ())}
    present -= {each.name for each in plan.gone}
    now = {observed[node.name].machine_id: _recorded(node, plan) for node in plan.nodes if node.name in observed}
    seen = {host.name for host in now.values()}
    kept = before.hosts if before else {}
    # A rebuilt host has another machine ID and the same name.
    return {machine: host for machine, host in kept.items() if host.name in present and host.name not in seen} | now


def _recorded(node: Node, plan: Plan) -> Recorded:
    parts = {"master": node.is_master, "etcd": node.is_etcd, "worker": node.is_worker}
    return Recorded(
        name=node.name,
        address=str(node.address),
        roles=tuple(part for part, has in parts.items() if has),
        kubernetes=plan.release.kubernetes,
    )
