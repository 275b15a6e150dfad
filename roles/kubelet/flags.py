"""kubelet's flags: only what its config file has no field for."""

from __future__ import annotations

from kubewright.model.cluster import Flags, Node

CONFIG = "/etc/kubernetes/kubelet.yaml"
KUBECONFIG = "/etc/kubernetes/kubelet.conf"


def flags(node: Node) -> Flags:
    return {
        "config": CONFIG,
        "hostname-override": node.name,
        "kubeconfig": KUBECONFIG,
        "node-ip": str(node.address),
    }
