"""Findings on etcd hosts without data: none of them may begin a new cluster where one is, or was."""

from __future__ import annotations

from collections.abc import Iterator

from kubewright.errors import Problem
from kubewright.model.certificates import hosts_of
from kubewright.model.cluster import Node
from kubewright.model.lineage import Lineage
from kubewright.observe.live import Live
from kubewright.observe.observed import Observed
from kubewright.plan.transition import joining
from kubewright.run.preflight.cluster import Cluster

_RUNBOOK = "docs/runbooks/etcd.md"
_NEW = "; to give that cluster up and make a new one: kubewright reset --no-snapshot, then apply"


def findings(cluster: Cluster, live: Live, record: Lineage | None, *, disposable: bool = False) -> Iterator[Problem]:
    """On members that lost their data, and on empty hosts that would be members. `record`: any that hosts or inventory have.

    `disposable`: hosts are replaced at will, as a lab's are. With all of them empty, the record is of an earlier lab.
    """
    joins = joining(live, cluster.plan)
    for node, host in cluster.hosts:
        if not node.is_etcd or host.etcd_data or node.name in joins:
            continue
        if host.lost_etcd:
            yield _lost(node)
        elif not host.begun and (evidence := _evidence(cluster, live, record, node)):
            yield _empty(node, evidence)
        elif not host.begun and record is not None and not disposable:
            yield _empty(node, f"cluster.json records one, made at {record.created}", _NEW)


def _lost(node: Node) -> Problem:
    return Problem(
        where=node.name,
        what="it is a member of etcd, and its data is gone (/var/lib/etcd/member has no write-ahead log)",
        allowed="the data that it had",
        todo=f"mount the disk, or move the folder back; if the data is lost: kubewright node replace {node.name}; see {_RUNBOOK}",
    )


def _empty(node: Node, evidence: str, otherwise: str = "") -> Problem:
    return Problem(
        where=node.name,
        what=f"it is empty, and would begin a new etcd where a cluster is already ({evidence})",
        allowed="a host that has its data, or a member that was added to the live etcd",
        todo=f"bring its disk back; a rebuilt host: kubewright node replace {node.name}; a new one: kubewright node add; "
        f"or restore a snapshot: see {_RUNBOOK}{otherwise}",
    )


def _evidence(cluster: Cluster, live: Live, record: Lineage | None, node: Node) -> str:
    """What shows that a cluster is there, or was; empty where nothing does."""
    others = [(n.name, host) for n, host in cluster.hosts if n != node]
    if live.etcd is not None:
        return f"etcd answers, with the members {', '.join(m.name or m.id for m in live.etcd.members)}"
    if members := [name for name, host in others if host.etcd_data or host.lost_etcd]:
        return f"{', '.join(members)} has etcd's data or had it"
    if served := [name for name, host in others if _served(host)]:
        return f"{', '.join(served)} has run components of it"
    absent = cluster.plan.absent
    if record is not None and (members := sorted({m.name for m in record.members} & absent)):
        return f"its record names {', '.join(members)}, which is left out"
    hosts = {n.name for n in cluster.plan.nodes}
    if record is not None and (members := sorted({m.name for m in record.members if m.name} - hosts)):
        return f"its record names {', '.join(members)}, which is not in cluster.yaml"
    if issued := sorted(hosts_of(cluster.entries, "etcd-server") & absent):
        return f"certificates.json has an etcd certificate of {', '.join(issued)}, which is left out"
    return ""


def _served(host: Observed) -> bool:
    return bool({"kubelet.service", "kube-apiserver.service"} & host.started_with.keys())
