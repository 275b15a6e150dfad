"""Flags that extra_args may not set: identities and permissions depend on them.

One row per flag pattern: why, and what to do instead. The first row that matches counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase

_DROP = "remove it"


@dataclass(frozen=True)
class Owned:
    pattern: str
    why: str
    todo: str = _DROP


_TLS = (
    Owned("client-ca-file", "it decides whose client certificates are believed"),
    Owned("tls-cert-file", "kubewright issues and renews this certificate", "name further SANs in api.extra_sans"),
    Owned("tls-private-key-file", "kubewright issues and renews this certificate"),
    Owned("tls-sni-cert-key", "kubewright issues and renews the certificates"),
    Owned("cert-dir", "the component would sign its own certificate there"),
    Owned("anonymous-auth", "anonymous requests reach /livez and /readyz only, by a configuration file"),
    Owned("authentication-*", "it decides whose identity is believed"),
    Owned("authorization-*", "it decides who may do what"),
    Owned("requestheader-*", "it decides which front proxy may speak for users"),
    Owned("insecure-*", "every connection is over TLS"),
)
_CLIENT = (
    Owned("kubeconfig", "it is the component's identity"),
    Owned("master", "the kubeconfig says where the API is"),
)

OWNED: dict[str, tuple[Owned, ...]] = {
    "kube-apiserver": (
        *_TLS,
        Owned("etcd-servers*", "the plan decides it from the hosts with etcd", "give hosts the role etcd"),
        Owned("etcd-prefix", "the apiserver's etcd role covers this prefix only"),
        Owned("etcd-*file", "it is the apiserver's identity at etcd"),
        Owned("kubelet-certificate-authority", "kubelets' certificates would not be verified"),
        Owned("kubelet-client-*", "it is the apiserver's identity at kubelets"),
        Owned("proxy-client-*", "it is the apiserver's identity at extension servers"),
        Owned("service-account-*", "every service account's token depends on it"),
        Owned("token-auth-file", "static tokens never expire", "use `kubewright user add`"),
        Owned("secure-port", "load balancer and kubeconfigs follow it", "set api.port"),
        Owned("bind-address", "certificates and load balancers follow the hosts' addresses", "set the hosts' address"),
        Owned("advertise-address", "certificates follow the hosts' addresses", "set the hosts' address"),
        Owned("service-cluster-ip-range", "certificate and DNS follow it", "set network.services"),
        Owned("service-node-port-range", "firewall rules follow it", "set network.node_ports"),
    ),
    "kube-controller-manager": (
        *_CLIENT,
        *_TLS,
        Owned("root-ca-file", "pods verify the API by it"),
        Owned("service-account-private-key-file", "every service account's token depends on it"),
        Owned("use-service-account-credentials", "each controller acts with its own rights"),
        Owned("cluster-signing-*", "authorities' keys never reach a host"),
        Owned("cluster-cidr", "flannel and kube-proxy follow it", "set network.pods"),
        Owned("allocate-node-cidrs", "flannel gives nodes their parts of the pods range"),
        Owned("service-cluster-ip-range", "certificate and DNS follow it", "set network.services"),
        Owned("secure-port", "health checks follow it"),
        Owned("bind-address", "health checks follow it"),
    ),
    "kube-scheduler": (
        *_CLIENT,
        *_TLS,
        Owned("config", "it holds the scheduler's identity"),
        Owned("secure-port", "health checks follow it"),
        Owned("bind-address", "health checks follow it"),
    ),
    "kubelet": (
        *_CLIENT,
        *_TLS,
        Owned("bootstrap-kubeconfig", "the node's certificate is issued by kubewright, not requested"),
        Owned("rotate-*", "the kubelet would prefer its own certificate to the one it is given"),
        Owned("config", "it holds what decides who may speak to the kubelet"),
        Owned("config-dir", "it could replace what decides who may speak to the kubelet"),
        Owned("read-only-port", "it answers without authentication"),
        Owned("port", "the apiserver follows it"),
        Owned("healthz-*", "health checks follow it"),
        Owned("address", "certificates follow the hosts' addresses", "set the host's address"),
        Owned("node-ip", "certificates follow the hosts' addresses", "set the host's address"),
        Owned("hostname-override", "the node's certificate holds its name", "set the host's name"),
        Owned("container-runtime-endpoint", "containerd's role decides it"),
        Owned("node-labels", "the spec has a setting for it", "set the host's labels"),
        Owned("register-with-taints", "the spec has a setting for it", "set the host's taints"),
        Owned("system-reserved", "the spec has a setting for it", "set the host's system_reserved"),
        Owned("kube-reserved", "the spec has a setting for it", "set the host's kube_reserved"),
        Owned("cluster-dns", "the spec has a setting for it", "set network.dns"),
        Owned("cluster-domain", "the spec has a setting for it", "set network.domain"),
    ),
    "kube-proxy": (
        *_CLIENT,
        Owned("config", "it holds kube-proxy's identity"),
        Owned("hostname-override", "kube-proxy finds its node by it", "set the host's name"),
        Owned("cluster-cidr", "flannel follows it", "set network.pods"),
        Owned("proxy-mode", "the spec has a setting for it", "set network.proxy_mode"),
    ),
    "etcd": (
        Owned("*-file", "it decides who is believed"),
        Owned("*client-cert-auth", "etcd would speak to anyone"),
        Owned("*auto-tls", "etcd would sign its own certificates"),
        Owned("peer-cert-allowed-*", "it decides which peers are believed"),
        Owned("client-cert-allowed-*", "it decides which clients are believed"),
        Owned("auth-token", "it decides whose identity is believed"),
        Owned("name", "the member's name follows the host's", "set the host's name"),
        Owned("*-urls", "certificates follow the hosts' addresses", "set the host's address"),
        Owned("initial-*", "kubewright sets the members", "list the members under hosts"),
        Owned("discovery*", "kubewright sets the members", "list the members under hosts"),
        Owned("force-new-cluster", "it throws the other members away", "remove the line"),
        Owned("data-dir", "backup and recovery look for the data where kubewright puts them"),
        Owned("wal-dir", "backup and recovery look for the data where kubewright puts them"),
    ),
    "flanneld": (
        Owned("etcd-*", "it is flannel's identity at etcd"),
        Owned("kube-*", "flannel keeps its state in etcd"),
        Owned("kubeconfig-file", "flannel keeps its state in etcd"),
        Owned("iface*", "flannel follows the host's address", "set the host's address"),
        Owned("public-ip*", "flannel follows the host's address", "set the host's address"),
        Owned("subnet-file", "the CNI plugin reads it where kubewright puts it"),
    ),
}


def owned(component: str, flag: str) -> Owned | None:
    """The row that keeps extra_args from setting the flag (without dashes), or None."""
    return next((row for row in OWNED[component] if fnmatchcase(flag, row.pattern)), None)
