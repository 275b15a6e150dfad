"""The certificate table: every certificate of a cluster, once. Everything else about certificates follows from it.

Source of names and usages: kubernetes.io, "PKI certificates and requirements".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address

from kubewright.model.cluster import Node, Plan
from pki.authorities import ETCD, FRONT_PROXY, KUBERNETES
from pki.certificates import Subject
from pki.decisions import Authority, Leaf


def hosts_of(rows: Iterable[str], name: str) -> frozenset[str]:
    """The hosts that have a certificate of the table's row `name` among `rows`, the names in a store."""
    return frozenset(host for kind, slash, host in (row.partition("/") for row in rows) if kind == name and slash)


ADMINS = "kubeadm:cluster-admins"
"""The group that the rbac role binds to cluster-admin, by kubeadm's name for it; never system:masters, whose rights RBAC
cannot remove."""

LOOPBACK = IPv4Address("127.0.0.1")

Names = tuple[tuple[str, ...], tuple[IPv4Address, ...]]


def _no_names(_plan: Plan, _node: Node) -> Names:
    return (), ()


def _loopback(_plan: Plan, node: Node) -> Names:
    return (node.name, "localhost"), (LOOPBACK,)


def _host(_plan: Plan, node: Node) -> Names:
    return (node.name, "localhost"), (node.address, LOOPBACK)


def _kubelet(_plan: Plan, node: Node) -> Names:
    return (node.name,), (node.address,)


def _apiserver(plan: Plan, node: Node) -> Names:
    service = ("kubernetes", "kubernetes.default", "kubernetes.default.svc", f"kubernetes.default.svc.{plan.domain}")
    names = dict.fromkeys((node.name, "localhost", *service, *plan.api_names))
    addresses = dict.fromkeys((node.address, LOOPBACK, plan.api_service_address, *plan.api_addresses))
    return tuple(names), tuple(addresses)


@dataclass(frozen=True, kw_only=True)
class Row:
    """One kind of certificate. Each host it is on has its own, with a key of its own.

    `path` is its place on the host, without `.crt` and `.key`; `owner` is the key file's.
    """

    name: str
    authority: Authority
    common_name: str
    """`{node}` stands for the node's name."""
    usages: tuple[str, ...]
    on: Callable[[Node], bool]
    path: str
    organizations: tuple[str, ...] = ()
    owner: str = "root"
    names: Callable[[Plan, Node], Names] = _no_names

    def stored(self, node: Node) -> str:
        """Its name in the store."""
        return f"{self.name}/{node.name}"

    def leaf(self, plan: Plan, node: Node) -> Leaf:
        dns_names, addresses = self.names(plan, node)
        subject = Subject(
            common_name=self.common_name.format(node=node.name),
            organizations=self.organizations,
            usages=self.usages,
            dns_names=dns_names,
            addresses=addresses,
        )
        return Leaf(name=self.stored(node), authority=self.authority.name, subject=subject)


def _etcd(node: Node) -> bool:
    return node.is_etcd


def _master(node: Node) -> bool:
    return node.is_master


def _kubelets(node: Node) -> bool:
    return node.runs_pods


def _metrics_server(node: Node) -> bool:
    return "metrics-server" in node.addons


def _of_metrics_server(_plan: Plan, node: Node) -> Names:
    # The apiserver expects the name of the Service [kube-aggregator: pkg/apiserver/handler_proxy.go]; the address is for checks.
    return ("metrics-server.kube-system.svc",), (node.address,)


def _skydns_masters(node: Node) -> bool:
    return node.is_master and node.has_skydns


def _skydns_pods(node: Node) -> bool:
    """Hosts on which a CoreDNS pod that reads etcd may run."""
    return node.runs_pods and node.has_skydns


_PKI = "/etc/kubernetes/pki"
_CLIENT, _SERVER, _BOTH = ("client",), ("server",), ("server", "client")

ROWS = {
    row.name: row
    for row in (
        Row(name="etcd-server", authority=ETCD, common_name="kube-etcd", usages=_BOTH, on=_etcd, names=_host,
            path="/etc/etcd/pki/server", owner="etcd"),
        Row(name="etcd-peer", authority=ETCD, common_name="kube-etcd-peer", usages=_BOTH, on=_etcd, names=_host,
            path="/etc/etcd/pki/peer", owner="etcd"),
        Row(name="etcd-healthcheck-client", authority=ETCD, common_name="kube-etcd-healthcheck-client", usages=_CLIENT,
            on=_etcd, path="/etc/etcd/pki/healthcheck-client"),
        # etcd's administrator (snapshots, members): its key never leaves the etcd hosts.
        Row(name="etcd-root", authority=ETCD, common_name="root", usages=_CLIENT, on=_etcd, path="/etc/etcd/pki/root"),
        Row(name="apiserver", authority=KUBERNETES, common_name="kube-apiserver", usages=_SERVER, on=_master,
            names=_apiserver, path=f"{_PKI}/apiserver"),
        Row(name="apiserver-etcd-client", authority=ETCD, common_name="kube-apiserver-etcd-client", usages=_CLIENT,
            on=_master, path=f"{_PKI}/apiserver-etcd-client"),
        Row(name="apiserver-kubelet-client", authority=KUBERNETES, common_name="kube-apiserver-kubelet-client",
            organizations=(ADMINS,), usages=_CLIENT, on=_master, path=f"{_PKI}/apiserver-kubelet-client"),
        Row(name="front-proxy-client", authority=FRONT_PROXY, common_name="front-proxy-client", usages=_CLIENT,
            on=_master, path=f"{_PKI}/front-proxy-client"),
        Row(name="controller-manager-client", authority=KUBERNETES, common_name="system:kube-controller-manager",
            usages=_CLIENT, on=_master, path=f"{_PKI}/controller-manager-client"),
        Row(name="controller-manager-server", authority=KUBERNETES, common_name="kube-controller-manager",
            usages=_SERVER, on=_master, names=_loopback, path=f"{_PKI}/controller-manager-server"),
        Row(name="scheduler-client", authority=KUBERNETES, common_name="system:kube-scheduler", usages=_CLIENT,
            on=_master, path=f"{_PKI}/scheduler-client"),
        Row(name="scheduler-server", authority=KUBERNETES, common_name="kube-scheduler", usages=_SERVER, on=_master,
            names=_loopback, path=f"{_PKI}/scheduler-server"),
        Row(name="admin", authority=KUBERNETES, common_name="kubernetes-admin", organizations=(ADMINS,),
            usages=_CLIENT, on=_master, path=f"{_PKI}/admin"),
        # The node authoriser uses this name: it must equal the registered node name.
        Row(name="kubelet-client", authority=KUBERNETES, common_name="system:node:{node}",
            organizations=("system:nodes",), usages=_CLIENT, on=_kubelets, path=f"{_PKI}/kubelet-client"),
        Row(name="kubelet-server", authority=KUBERNETES, common_name="system:node:{node}",
            organizations=("system:nodes",), usages=_SERVER, on=_kubelets, names=_kubelet, path=f"{_PKI}/kubelet-server"),
        Row(name="kube-proxy", authority=KUBERNETES, common_name="system:kube-proxy",
            organizations=("system:node-proxier",), usages=_CLIENT, on=_kubelets, path=f"{_PKI}/kube-proxy"),
        Row(name="metrics-server", authority=KUBERNETES, common_name="metrics-server", usages=_SERVER, on=_metrics_server,
            names=_of_metrics_server, path="/etc/kubernetes/metrics-server/serving"),
        Row(name="flannel", authority=ETCD, common_name="flannel", usages=_CLIENT, on=_kubelets,
            path="/etc/flannel/pki/flannel"),
        Row(name="coredns-etcd", authority=ETCD, common_name="coredns", usages=_CLIENT, on=_skydns_pods,
            path="/etc/kubernetes/coredns/coredns"),
        Row(name="kube2sky-client", authority=KUBERNETES, common_name="system:kube2sky", usages=_CLIENT, on=_skydns_masters,
            path="/etc/kube2sky/pki/client"),
        Row(name="kube2sky-etcd", authority=ETCD, common_name="kube2sky", usages=_CLIENT, on=_skydns_masters,
            path="/etc/kube2sky/pki/etcd"),
    )
}  # fmt: skip

OPERATOR = Leaf(
    name="operator",
    authority=KUBERNETES.name,
    subject=Subject(common_name="kubernetes-admin", organizations=(ADMINS,), usages=_CLIENT),
)
"""The administrator's certificate, for the kubeconfig on the operator's machine; no host has it."""


def leaves(plan: Plan) -> tuple[Leaf, ...]:
    """Every leaf of `plan`, the operator's included."""
    return (OPERATOR, *(row.leaf(plan, node) for row in ROWS.values() for node in plan.nodes if row.on(node)))
