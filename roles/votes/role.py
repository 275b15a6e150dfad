"""The vote of an etcd member that joins: it gets one as soon as it has the leader's data. One member does this work."""

from __future__ import annotations

from kubewright.model.cluster import ETCD_CLIENT_PORT, ETCD_PEER_PORT
from kubewright.observe import facts
from kubewright.plan.context import Context, render
from kubewright.plan.desired import ClusterTask, Desired
from kubewright.plan.role import Role, on_etcd

PKI = "/etc/etcd/pki"
TRIES = 600
"""Of a second and an attempt each. A learner gets a snapshot of all data first, which may be gigabytes."""


def promoting(name: str, url: str, tries: int = TRIES) -> bytes:
    """Shell that waits for the learner and promotes it."""
    return render("members/promote.sh.j2", name=name, url=url, pki=PKI, port=ETCD_CLIENT_PORT, tries=tries)


def desired(context: Context) -> Desired:
    plan = context.plan
    if not context.acts_for_etcd:
        return Desired()
    learning = [(n.name, f"https://{n.address}:{ETCD_PEER_PORT}") for n in plan.etcd_members if n.name in context.learning]
    return Desired(
        tasks=tuple(
            ClusterTask(
                title=f"give the etcd member {name} its vote, once it has the data",
                content=promoting(name, url),
                apply='sh -eu "$new" >/dev/null',
                evidence={facts.of_vote(url): "yes"},
            )
            for name, url in learning
        )
    )


ROLE = Role(name="votes", runs_on=on_etcd, after=("etcd",), desired=desired)
