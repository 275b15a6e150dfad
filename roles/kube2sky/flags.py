"""kube2sky's flags."""

from __future__ import annotations

from kubewright.model.certificates import ROWS
from kubewright.model.cluster import KUBE2SKY_PORT, Flags, Node, Plan
from kubewright.model.etcd_rights import SKYDNS_PREFIX

PKI = "/etc/kube2sky/pki"
KUBECONFIG = "/etc/kube2sky/kube2sky.conf"
LEASE = "kube2sky"


def flags(plan: Plan, node: Node) -> Flags:
    certificate = ROWS["kube2sky-etcd"].path
    return {
        "domain": plan.domain,
        "etcd-cafile": f"{PKI}/etcd-ca.crt",
        "etcd-certfile": f"{certificate}.crt",
        "etcd-endpoints": ",".join(plan.etcd_endpoints),
        "etcd-keyfile": f"{certificate}.key",
        "id": node.name,
        "kubeconfig": KUBECONFIG,
        "lease-name": LEASE,
        "lease-namespace": "kube-system",
        "listen": f"127.0.0.1:{KUBE2SKY_PORT}",
        "prefix": SKYDNS_PREFIX,
    }
