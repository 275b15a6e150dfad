"""The scripts that a restore runs on hosts: everything that uses etcd stops, and the snapshot becomes the members' data."""

from __future__ import annotations

from dataclasses import dataclass

from kubewright.backup.manifest import Taken
from kubewright.model.cluster import ETCD_PEER_PORT, Node, Plan
from kubewright.model.places import STATE
from kubewright.observe.observed import ETCD_MARK, ETCD_RESTORED
from kubewright.plan.context import render
from kubewright.verbs.backup.taking import ETCDUTL

BUMP = 1_000_000_000
"""Revisions that are skipped: clients never see a revision twice [etcd.io: disaster recovery, "Restoring with revision bump"]."""
FLANNEL = "flanneld"
_UNITS = ("kube2sky", "kube-controller-manager", "kube-scheduler", "kube-apiserver", "etcd")


def stop(*, has_etcd_clients: bool) -> str:
    """Shell that stops what uses etcd on one host. `has_etcd_clients`: it is a master or an etcd host.

    flanneld is on every node: one that goes on keeps a lease that the restored etcd may not have until its next renewal, up to
    a day later, and another host could get its pods' range. Packets need no flanneld; the wave of the kubelets starts it.
    """
    units = (FLANNEL, *_UNITS) if has_etcd_clients else (FLANNEL,)
    return "\n".join(
        (
            "# What uses etcd stops before its data changes: caches of the old data end with their process.",
            *(f"systemctl stop {unit}.service 2>/dev/null" for unit in units),
            *(f"! systemctl is-active -q {unit}.service || {{ echo '{unit} does not stop' >&2; exit 1; }}" for unit in units),
            "",
        )
    )


@dataclass(frozen=True, kw_only=True)
class Places:
    """Where a member has its things. Tests have other places."""

    data: str = "/var/lib/etcd"
    state: str = STATE
    snapshot: str = f"{STATE}/restore.db"
    joins: str = "/etc/etcd/joins"
    mark: str = ETCD_MARK
    restored: str = ETCD_RESTORED
    etcdutl: str = ETCDUTL
    owner: str = "etcd:etcd"


def peer_url(node: Node) -> str:
    return f"https://{node.address}:{ETCD_PEER_PORT}"


def members(plan: Plan) -> str:
    """All members, as etcd's `--initial-cluster` has them."""
    return ",".join(f"{n.name}={peer_url(n)}" for n in plan.etcd_members)


def room(plan: Plan, snapshot: Taken, places: Places = Places()) -> str:
    """Shell that says `ready` where the data is there, and fails where it would not fit."""
    facts = {"token": plan.etcd_token, "sha256": snapshot.sha256, "size": snapshot.size}
    return render("backup/room.sh.j2", **vars(places), **facts).decode()


def seed(plan: Plan, node: Node, snapshot: Taken, places: Places = Places(), *, prepares: bool = False) -> str:
    """Shell that makes the sent snapshot the data of `node`'s member, with `plan.etcd_token`.

    `prepares`: only beside the member's present data, while etcd may run.
    """
    return render(
        "backup/seed.sh.j2",
        **vars(places),
        token=plan.etcd_token,
        sha256=snapshot.sha256,
        name=node.name,
        members=members(plan),
        peer=peer_url(node),
        bump=BUMP,
        prepares=prepares,
    ).decode()


def receive(places: Places = Places()) -> str:
    """Shell that keeps its standard input as the snapshot (0600). Nothing else waits there."""
    there = places.snapshot
    return f"umask 077; mkdir -p -m 0700 {places.state} && cat > {there}.part && mv {there}.part {there}\n"
