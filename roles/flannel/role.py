"""flanneld: leases this host's pod subnet from etcd and joins it to the others'."""

from __future__ import annotations

from kubewright.model.cluster import VXLAN_PORT, WIREGUARD_PORT, Flags, Node, Plan
from kubewright.model.etcd_rights import FLANNEL_PREFIX
from kubewright.plan import backends
from kubewright.plan.context import Context
from kubewright.plan.desired import Desired, Directory, Unit
from kubewright.plan.role import Folder, Port, Role, on_kubelets
from pki.authorities import ETCD
from roles.flannel.checks import CHECKS, SUBNET

UNIT = "flanneld.service"
_PKI = "/etc/flannel/pki"


def flags(plan: Plan, node: Node) -> Flags:
    return {
        "etcd-cafile": f"{_PKI}/etcd-ca.crt",
        "etcd-certfile": f"{_PKI}/flannel.crt",
        "etcd-endpoints": ",".join(plan.etcd_endpoints),
        "etcd-keyfile": f"{_PKI}/flannel.key",
        "etcd-prefix": FLANNEL_PREFIX,
        "iface": str(node.address),
        "ip-masq": "true",
        "public-ip": str(node.address),
        "subnet-file": SUBNET,
    }


def desired(context: Context) -> Desired:
    plan, node = context.plan, context.node
    mine = (UNIT,)
    return Desired(
        directories=(Directory(path="/etc/flannel"), Directory(path=_PKI)),
        files=(
            context.authority(ETCD.name, f"{_PKI}/etcd-ca.crt", restarts=mine),
            *context.key_pair("flannel", restarts=mine),
            context.config("/etc/cni/net.d/10-flannel.conflist", "flannel/10-flannel.conflist.j2", restarts=(), subnet=SUBNET),
            context.unit_file(UNIT, "flannel/flanneld.service.j2", flags=context.flags("flanneld", flags(plan, node))),
        ),
        links=(context.link("flanneld", restarts=mine),),
        units=(
            Unit(
                name=UNIT,
                ready=f"[ -s {SUBNET} ]",
                outdated=("network.backend",) if backends.outdated(plan, context.together, node) else (),
            ),
        ),
    )


def ports(plan: Plan, _node: Node) -> tuple[Port, ...]:
    if plan.backend == "host-gw":
        return ()
    number = VXLAN_PORT if plan.backend == "vxlan" else WIREGUARD_PORT
    # The kernel listens: no process owns the socket.
    return (Port(number=number, protocol="udp", process="", clients="kubelets"),)


ROLE = Role(
    name="flannel",
    runs_on=on_kubelets,
    pods_need=True,
    after=("etcd_users",),
    binaries=("flanneld",),
    units=(UNIT,),
    folders=(Folder(path="/etc/flannel"), Folder(path="/run/flannel", holds="data")),
    desired=desired,
    ports=ports,
    checks=CHECKS,
)
