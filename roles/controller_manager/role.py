"""kube-controller-manager on each master; the one with the lease is active."""

from __future__ import annotations

from kubewright.model.cluster import CONTROLLER_MANAGER_PORT, Node, Plan
from kubewright.plan.context import Context
from kubewright.plan.desired import Desired, Unit
from kubewright.plan.role import Port, Role, on_masters
from pki.authorities import KUBERNETES
from roles.common import leader
from roles.controller_manager.flags import flags

UNIT = "kube-controller-manager.service"
_CA, _CA_WITH_ROOT = "/etc/kubernetes/pki/ca.crt", "/etc/kubernetes/pki/ca-with-root.crt"


def desired(context: Context) -> Desired:
    # Pods verify the API with this file; many of their programs need the authority's root too.
    with_root = context.with_root(KUBERNETES.name, _CA_WITH_ROOT, restarts=(UNIT,))
    return Desired(
        files=(
            *with_root,
            *leader.files(context, "controller-manager", UNIT),
            context.unit_file(
                UNIT,
                "controller_manager/kube-controller-manager.service.j2",
                flags=context.flags("kube-controller-manager", flags(context.plan, _CA_WITH_ROOT if with_root else _CA)),
            ),
        ),
        links=(context.link("kube-controller-manager", restarts=(UNIT,)),),
        units=(Unit(name=UNIT, ready=leader.ready(CONTROLLER_MANAGER_PORT)),),
    )


def ports(_plan: Plan, _node: Node) -> tuple[Port, ...]:
    tls = leader.tls("controller-manager")
    return (Port(number=CONTROLLER_MANAGER_PORT, process="kube-controller-manager", addresses=("127.0.0.1",), tls=tls),)


ROLE = Role(
    name="controller_manager",
    runs_on=on_masters,
    after=("apiserver",),
    binaries=("kube-controller-manager",),
    units=(UNIT,),
    desired=desired,
    ports=ports,
    checks=(leader.healthy(CONTROLLER_MANAGER_PORT),),
)
