"""The Node objects of hosts that have left. One master does this work, for a plan of `kubewright node` only (`Plan.gone`)."""

from __future__ import annotations

from kubewright.observe import facts
from kubewright.plan.context import Context
from kubewright.plan.desired import ClusterTask, Desired
from kubewright.plan.role import Role, on_masters

_DELETE = (
    "xargs /usr/local/bin/kubectl --kubeconfig=/etc/kubernetes/admin.conf delete node --ignore-not-found --timeout=60s "
    '< "$new" >/dev/null'
)


def desired(context: Context) -> Desired:
    gone = [each for each in context.plan.gone if not each.keeps_node]
    if not gone or not context.acts_for_masters:
        return Desired()
    task = ClusterTask(
        title="delete the nodes that have left",
        content="".join(f"{each.name}\n" for each in gone).encode(),
        apply=_DELETE,
        evidence={facts.NODES: "known"},
        removes=tuple(facts.of_node(each.name) for each in gone),
    )
    return Desired(tasks=(task,))


ROLE = Role(name="departed", runs_on=on_masters, after=("nodes",), desired=desired)
