"""kube-controller-manager's flags."""

from __future__ import annotations

from kubewright.model.cluster import CONTROLLER_MANAGER_PORT, Flags, Plan
from roles.common import leader

_PKI = "/etc/kubernetes/pki"


def flags(plan: Plan, root_ca: str) -> Flags:
    """`root_ca`: the file with which pods verify the API."""
    # No cluster-signing flags: authorities' keys never reach a host, so certificate requests are signed outside.
    return {
        **leader.flags("controller-manager", CONTROLLER_MANAGER_PORT),
        # flannel leases each host's subnet from etcd.
        "allocate-node-cidrs": "false",
        "cluster-cidr": str(plan.pods),
        "root-ca-file": root_ca,
        "service-account-private-key-file": f"{_PKI}/sa.key",
        "service-cluster-ip-range": str(plan.services),
        # CIS 1.3.1: the default would keep 12500 finished pods.
        "terminated-pod-gc-threshold": "1000",
        "use-service-account-credentials": "true",
    }
