"""kube-proxy: Services' addresses, in iptables or nftables."""

from __future__ import annotations

from kubewright.model.cluster import PROXY_HEALTH_PORT, PROXY_METRICS_PORT, Flags, Node, Plan
from kubewright.plan.context import Context
from kubewright.plan.desired import Desired, Unit
from kubewright.plan.role import Port, Role, on_kubelets
from pki.authorities import KUBERNETES
from roles.kube_proxy.checks import CHECKS

UNIT = "kube-proxy.service"
CONFIG, KUBECONFIG = "/etc/kubernetes/kube-proxy.yaml", "/etc/kubernetes/kube-proxy.conf"


def flags() -> Flags:
    return {"config": CONFIG}


def desired(context: Context) -> Desired:
    plan, node, mine = context.plan, context.node, (UNIT,)
    return Desired(
        files=(
            # Clients read the authority in their kubeconfig only at their start.
            context.authority(KUBERNETES.name, "/etc/kubernetes/pki/ca.crt", restarts=mine),
            *context.key_pair("kube-proxy", restarts=mine),
            context.kubeconfig(KUBECONFIG, "system:kube-proxy", "kube-proxy", restarts=mine),
            context.config(
                CONFIG,
                "kube_proxy/config.yaml.j2",
                restarts=mine,
                mode=0o600,
                plan=plan,
                node=node,
                kubeconfig=KUBECONFIG,
                proxy_mode=context.proxy_mode,
                sets_conntrack=context.observed.initial_network_namespace,
                health_port=PROXY_HEALTH_PORT,
            ),
            context.unit_file(UNIT, "kube_proxy/kube-proxy.service.j2", flags=context.flags("kube-proxy", flags())),
        ),
        links=(context.link("kube-proxy", restarts=mine),),
        units=(Unit(name=UNIT, ready=f"curl -q --noproxy '*' -sS -m 5 -o /dev/null http://127.0.0.1:{PROXY_HEALTH_PORT}/livez"),),
    )


def ports(_plan: Plan, _node: Node) -> tuple[Port, ...]:
    return (
        # Cloud load balancers probe it; it only says whether the proxy is healthy.
        # Load balancers before the cluster ask it which nodes to send to.
        Port(number=PROXY_HEALTH_PORT, process="kube-proxy", clients="outside"),
        Port(number=PROXY_METRICS_PORT, process="kube-proxy", addresses=("127.0.0.1",)),
    )


ROLE = Role(
    name="kube_proxy",
    runs_on=on_kubelets,
    pods_need=True,
    after=("rbac", "load_balancer"),
    binaries=("kube-proxy",),
    units=(UNIT,),
    desired=desired,
    ports=ports,
    checks=CHECKS,
)
