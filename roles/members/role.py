"""etcd's list of members: those that have left are removed, and a new one is added as a learner. One member does this work.

Only a plan of `kubewright node` has such hosts (`Plan.joining`, `Plan.gone`); at most one of them joins in a plan.
"""

from __future__ import annotations

from kubewright.model.cluster import ETCD_CLIENT_PORT, ETCD_PEER_PORT, Gone
from kubewright.observe import facts
from kubewright.plan.context import Context, render
from kubewright.plan.desired import ClusterTask, Desired
from kubewright.plan.role import Role, on_etcd

PKI = "/etc/etcd/pki"


def adding(name: str, url: str) -> bytes:
    """Shell that adds the member as a learner, unless it is there."""
    return render("members/add.sh.j2", name=name, url=url, pki=PKI, port=ETCD_CLIENT_PORT)


def removing(gone: tuple[Gone, ...]) -> bytes:
    """Shell that removes those members that are there."""
    return render("members/remove.sh.j2", gone=[(g.name, g.peer_url) for g in gone], pki=PKI, port=ETCD_CLIENT_PORT)


def desired(context: Context) -> Desired:
    plan = context.plan
    if not context.acts_for_etcd:
        return Desired()
    tasks = []
    if plan.gone:
        tasks.append(
            ClusterTask(
                title="remove the etcd members that have left",
                content=removing(plan.gone),
                apply='sh -eu "$new" >/dev/null',
                evidence={facts.MEMBERS: "known"},
                removes=tuple(facts.of_member(each.peer_url) for each in plan.gone),
            )
        )
    for node in (n for n in plan.etcd_members if n.name in plan.joining):
        url = f"https://{node.address}:{ETCD_PEER_PORT}"
        tasks.append(
            ClusterTask(
                title=f"add the etcd member {node.name}, which learns first",
                content=adding(node.name, url),
                apply='sh -eu "$new" >/dev/null',
                evidence={facts.of_member(url): "there"},
            )
        )
    return Desired(tasks=tuple(tasks))


ROLE = Role(name="members", runs_on=on_etcd, after=("binaries",), desired=desired)
