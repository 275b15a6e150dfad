"""kube-scheduler on each master; the one with the lease is active."""

from __future__ import annotations

from kubewright.model.cluster import SCHEDULER_PORT, Node, Plan
from kubewright.plan.context import Context
from kubewright.plan.desired import Desired, Unit
from kubewright.plan.role import Port, Role, on_masters
from roles.common import leader
from roles.scheduler.flags import flags

UNIT = "kube-scheduler.service"


def desired(context: Context) -> Desired:
    return Desired(
        files=(
            *leader.files(context, "scheduler", UNIT),
            context.unit_file(
                UNIT,
                "scheduler/kube-scheduler.service.j2",
                flags=context.flags("kube-scheduler", flags(context.plan)),
            ),
        ),
        links=(context.link("kube-scheduler", restarts=(UNIT,)),),
        units=(Unit(name=UNIT, ready=leader.ready(SCHEDULER_PORT)),),
    )


def ports(_plan: Plan, _node: Node) -> tuple[Port, ...]:
    return (Port(number=SCHEDULER_PORT, process="kube-scheduler", addresses=("127.0.0.1",), tls=leader.tls("scheduler")),)


ROLE = Role(
    name="scheduler",
    runs_on=on_masters,
    after=("apiserver",),
    binaries=("kube-scheduler",),
    units=(UNIT,),
    desired=desired,
    ports=ports,
    checks=(leader.healthy(SCHEDULER_PORT),),
)
