"""haproxy on the loopback of every host without an apiserver: TCP to the masters that answer /readyz."""

from __future__ import annotations

from typing import Any

from kubewright.model.cluster import Node, Plan
from kubewright.plan.context import Context
from kubewright.plan.desired import Desired, Directory, Unit
from kubewright.plan.role import Check, Port, Role, on_non_masters
from kubewright.plan.tls import API
from pki.authorities import KUBERNETES
from roles.common.gate import CURL

UNIT = "kube-apiserver-load-balancer.service"
CONFIG = "/etc/kubernetes/load-balancer/haproxy.cfg"
_CA, _CA_WITH_ROOT = "/etc/kubernetes/pki/ca.crt", "/etc/kubernetes/load-balancer/ca.crt"


def _before(context: Context) -> tuple[str, ...]:
    # SELinux in enforcing mode lets haproxy bind and connect to web ports only, until haproxy's boolean is set.
    enforcing = context.observed.selinux == "enforcing"
    return ("+/usr/sbin/setsebool haproxy_connect_any 1",) if enforcing else ()


def desired(context: Context) -> Desired:
    plan = context.plan
    with_root = context.with_root(KUBERNETES.name, _CA_WITH_ROOT, restarts=(UNIT,))
    return Desired(
        packages=() if "haproxy" in context.observed.programs else ("haproxy",),
        directories=(Directory(path="/etc/kubernetes/load-balancer"),),
        files=(
            context.authority(KUBERNETES.name, _CA, restarts=(UNIT,)),
            *with_root,
            context.config(
                CONFIG,
                "load_balancer/haproxy.cfg.j2",
                restarts=(UNIT,),
                masters=plan.serving_masters,
                port=plan.api_port,
                authority=_CA_WITH_ROOT if with_root else _CA,
            ),
            context.unit_file(UNIT, "load_balancer/unit.service.j2", config=CONFIG, before=_before(context)),
        ),
        # Open sessions stay with the old process.
        units=(Unit(name=UNIT, reloads=(CONFIG, _CA, _CA_WITH_ROOT)),),
    )


def ports(plan: Plan, _node: Node) -> tuple[Port, ...]:
    return (Port(number=plan.api_port, process="haproxy", addresses=("127.0.0.1",), tls=API),)


def _reaches_api(host: Any, plan: Plan, _node: Node) -> None:
    answer = host.run(f"{CURL} --cacert /etc/kubernetes/pki/ca.crt {plan.local_api}/readyz")
    assert answer.stdout == "ok", f"{plan.local_api}/readyz: {answer.stdout or answer.stderr}"


ROLE = Role(
    name="load_balancer",
    runs_on=on_non_masters,
    after=("base",),
    units=(UNIT,),
    desired=desired,
    ports=ports,
    checks=(Check(title="a ready apiserver answers through it", run=_reaches_api),),
)
