"""etcd's flags. kube-bench looks for them on the command line, so there is no config file."""

from __future__ import annotations

from kubewright.model.cluster import ETCD_CLIENT_PORT, ETCD_PEER_PORT, Flags, Node, Plan
from kubewright.plan.tls import CIPHER_SUITES

_PKI = "/etc/etcd/pki"


def flags(plan: Plan, node: Node) -> Flags:
    client, peer = (f"https://{node.address}:{port}" for port in (ETCD_CLIENT_PORT, ETCD_PEER_PORT))
    return {
        "name": node.name,
        "data-dir": "/var/lib/etcd",
        "listen-client-urls": f"{client},https://127.0.0.1:{ETCD_CLIENT_PORT}",
        "advertise-client-urls": client,
        "listen-peer-urls": peer,
        "client-cert-auth": "true",
        "trusted-ca-file": f"{_PKI}/ca.crt",
        "cert-file": f"{_PKI}/server.crt",
        "key-file": f"{_PKI}/server.key",
        "peer-client-cert-auth": "true",
        "peer-trusted-ca-file": f"{_PKI}/ca.crt",
        "peer-cert-file": f"{_PKI}/peer.crt",
        "peer-key-file": f"{_PKI}/peer.key",
        # A client's certificate is of the same authority; only a peer's own name may join as one.
        "peer-cert-allowed-cn": "kube-etcd-peer",
        "cipher-suites": ",".join(CIPHER_SUITES),
        "tls-min-version": "TLS1.2",
    }


def bootstrap(plan: Plan, node: Node, token: str = "") -> dict[str, str]:
    """Settings that etcd reads only without data, as environment variables: a change restarts nothing. `token`: the record's."""
    members = (f"{n.name}=https://{n.address}:{ETCD_PEER_PORT}" for n in plan.etcd_members)
    return {
        "ETCD_INITIAL_ADVERTISE_PEER_URLS": f"https://{node.address}:{ETCD_PEER_PORT}",
        "ETCD_INITIAL_CLUSTER": ",".join(members),
        "ETCD_INITIAL_CLUSTER_TOKEN": token or plan.cluster,
    }
