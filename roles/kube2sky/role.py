"""kube2sky on each master: it writes the cluster's names to etcd, where CoreDNS reads them; the one with the lease writes.

Only where the DNS provider is `skydns`. Without the role its unit and files are leftovers, which go after CoreDNS no longer
reads etcd; the records in etcd stay, and kube2sky removes the stale ones when it starts again.
"""

from __future__ import annotations

from typing import Any

from kubewright.model.certificates import ROWS
from kubewright.model.cluster import KUBE2SKY_PORT, Node, Plan
from kubewright.plan.context import Context
from kubewright.plan.desired import Desired, Directory, Unit
from kubewright.plan.role import Check, Folder, Port, Role
from pki.authorities import ETCD, KUBERNETES
from roles.common.gate import CURL
from roles.kube2sky.flags import KUBECONFIG, LEASE, PKI, flags

UNIT = "kube2sky.service"
READY = f"{CURL} http://127.0.0.1:{KUBE2SKY_PORT}/readyz"


def _runs_on(node: Node) -> bool:
    return node.is_master and node.has_skydns


def desired(context: Context) -> Desired:
    mine = (UNIT,)
    user = ROWS["kube2sky-client"].common_name
    return Desired(
        directories=(Directory(path="/etc/kube2sky"), Directory(path=PKI)),
        files=(
            context.authority(KUBERNETES.name, "/etc/kubernetes/pki/ca.crt", restarts=mine),
            context.authority(ETCD.name, f"{PKI}/etcd-ca.crt", restarts=mine),
            *context.key_pair("kube2sky-client", restarts=mine),
            *context.key_pair("kube2sky-etcd", restarts=mine),
            context.kubeconfig(KUBECONFIG, user, "kube2sky-client", restarts=mine),
            context.unit_file(
                UNIT, "kube2sky/kube2sky.service.j2", flags=context.flags("kube2sky", flags(context.plan, context.node))
            ),
        ),
        links=(context.link("kube2sky", restarts=mine),),
        units=(Unit(name=UNIT, ready=READY),),
    )


def ports(_plan: Plan, _node: Node) -> tuple[Port, ...]:
    return (Port(number=KUBE2SKY_PORT, process="kube2sky", addresses=("127.0.0.1",)),)


def _is_ready(host: Any, _plan: Plan, _node: Node) -> None:
    answer = host.run(READY.replace("-fsS", "-sS"))
    assert answer.stdout == "ok", (
        f"/readyz: {(answer.stdout or answer.stderr).strip()}; see why on the master that holds the lease "
        f"(kubewright kubectl -i INVENTORY -- -n kube-system get lease {LEASE}): journalctl -u {UNIT}"
    )


ROLE = Role(
    name="kube2sky",
    runs_on=_runs_on,
    after=("kube2sky_rights", "etcd_users"),
    binaries=("kube2sky",),
    units=(UNIT,),
    folders=(Folder(path="/etc/kube2sky"),),
    desired=desired,
    ports=ports,
    checks=(Check(title="etcd has every name", run=_is_ready),),
)
