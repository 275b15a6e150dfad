"""The plan: all decisions, frozen. Later layers do no address arithmetic and do not read cluster.yaml."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from ipaddress import IPv4Address, IPv4Network

from kubewright.model.images import Images
from kubewright.model.runtime import CONTAINERD, Runtime
from kubewright.model.workgroups import Workgroup
from kubewright.releases import Release
from kubewright.spec.addons import Manifests
from pki.decisions import Policy

Flags = Mapping[str, str | None]
"""Flag names without dashes. None removes a flag that kubewright would set."""


@dataclass(frozen=True, kw_only=True)
class Node:
    """One host. `name` is its node name in Kubernetes and etcd; its hostname may differ."""

    name: str
    address: IPv4Address
    release: Release
    """What this plan installs here. During an upgrade some nodes have the plan's release, others the one before."""
    is_master: bool
    is_etcd: bool
    is_worker: bool
    labels: Mapping[str, str]
    taints: tuple[str, ...]
    system_reserved: Mapping[str, str]
    kube_reserved: Mapping[str, str]
    extra_args: Mapping[str, Flags] = field(default_factory=dict)
    snapshots: str = ""
    """How often an etcd host keeps a snapshot, as systemd's calendar says it; empty: never."""
    snapshots_kept: int = 7
    addons: frozenset[str] = frozenset()
    """The built-in add-ons that have pods with ports or certificates of this host."""
    has_skydns: bool = False
    """Whether its cluster's DNS provider is `skydns`: then kube2sky and CoreDNS have certificates of their own."""
    applies_addons: bool = False
    """Whether it is a master of a cluster with add-ons."""

    @property
    def runs_pods(self) -> bool:
        """Whether it has a kubelet: every master and worker does, a host of etcd alone does not."""
        return self.is_master or self.is_worker


@dataclass(frozen=True, kw_only=True)
class Gone:
    """A host that is no part of the cluster any more, whatever is left of it: an etcd member, a Node object."""

    name: str
    address: str
    keeps_node: bool = False
    """Whether only its etcd member is gone: its Node object and its pods stay."""

    @property
    def peer_url(self) -> str:
        return f"https://{self.address}:{ETCD_PEER_PORT}"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """One cluster. Answers about all nodes, which each host needs, are computed once; otherwise planning would take
    quadratic time."""

    cluster: str
    release: Release
    """What cluster.yaml names."""
    nodes: tuple[Node, ...]
    pods: IPv4Network
    services: IPv4Network
    pod_prefix_length: int
    api_service_address: IPv4Address
    dns_address: IPv4Address
    domain: str
    node_ports: str
    api_port: int
    api_names: tuple[str, ...]
    """Further DNS names in the apiserver's certificate."""
    api_addresses: tuple[IPv4Address, ...]
    external_ips: bool = False
    """Whether Services may have externalIPs."""
    backend: str
    proxy_mode: str
    dns_provider: str = "coredns"
    """Where CoreDNS takes the cluster's names from: `coredns` (the API) or `skydns` (etcd)."""
    dns_upstreams: tuple[str, ...] = ()
    """IP or IP:port, for names outside the cluster; empty: the DNS servers of the host that CoreDNS runs on."""
    dns_stub_domains: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Domains with DNS servers (IP or IP:port) of their own."""
    dns_zones: tuple[str, ...] = ()
    """Domains outside the cluster's own that CoreDNS reads from etcd; `skydns` only."""
    runtime: Runtime = CONTAINERD
    certificates: Policy
    addons: tuple[Manifests, ...] = ()
    """In the order of cluster.yaml."""
    workgroups: tuple[Workgroup, ...] = ()
    images: Images = field(default_factory=Images)
    """Where hosts pull images from, and which they import."""
    hosts_fetch_from: str = ""
    """Where hosts fetch binaries and images from, without a slash at its end; empty: they are sent."""
    etcd_token: str = ""
    """The token that a restore gives etcd's members; empty: the record's."""
    absent: frozenset[str] = frozenset()
    """Hosts that this run leaves out."""
    joining: frozenset[str] = frozenset()
    """Hosts whose etcd members this plan adds. They are among `nodes`."""
    leaving: frozenset[str] = frozenset()
    """Hosts that still serve, and that no client is told of any more. They are among `nodes`."""
    gone: tuple[Gone, ...] = ()
    """Hosts whose members and nodes this plan removes. They are not among `nodes`."""

    @cached_property
    def masters(self) -> tuple[Node, ...]:
        return tuple(n for n in self.nodes if n.is_master)

    @cached_property
    def etcd_members(self) -> tuple[Node, ...]:
        return tuple(n for n in self.nodes if n.is_etcd)

    @cached_property
    def serving_masters(self) -> tuple[Node, ...]:
        """The masters that clients use."""
        return tuple(n for n in self.masters if n.name not in self.leaving)

    @cached_property
    def serving_members(self) -> tuple[Node, ...]:
        """The etcd members that clients use."""
        return tuple(n for n in self.etcd_members if n.name not in self.leaving)

    @property
    def first_master(self) -> Node:
        """The master that does the cluster-wide work through the API: the first one that is not left out."""
        return next(n for n in self.masters if n.name not in self.absent)

    @property
    def first_member(self) -> Node:
        """The etcd member that does the cluster-wide work in etcd."""
        return next(n for n in self.etcd_members if n.name not in self.absent)

    @property
    def quorum(self) -> int:
        """How many etcd members must be healthy for a write."""
        return len(self.etcd_members) // 2 + 1

    @cached_property
    def kubelets(self) -> tuple[Node, ...]:
        return tuple(n for n in self.nodes if n.runs_pods)

    @cached_property
    def addresses(self) -> Mapping[str, tuple[str, ...]]:
        """Addresses of the nodes that connect to others' ports, by kind."""
        groups = {"masters": self.masters, "etcd": self.etcd_members, "kubelets": self.kubelets}
        return {who: tuple(str(n.address) for n in nodes) for who, nodes in groups.items()}

    @property
    def etcd_endpoints(self) -> tuple[str, ...]:
        """Client URLs of the members that clients use."""
        return tuple(f"https://{n.address}:{ETCD_CLIENT_PORT}" for n in self.serving_members)

    @property
    def has_skydns(self) -> bool:
        """Whether kube2sky writes the cluster's names to etcd, and CoreDNS reads them there."""
        return self.dns_provider == SKYDNS

    @property
    def local_api(self) -> str:
        """Where every host reaches the API: its own apiserver on a master, its load balancer elsewhere."""
        return f"https://127.0.0.1:{self.api_port}"

    def node(self, name: str) -> Node:
        """The node called `name`; KeyError when there is none."""
        return self._by_name[name]

    @cached_property
    def _by_name(self) -> Mapping[str, Node]:
        return {n.name: n for n in self.nodes}


SKYDNS = "skydns"
ETCD_CLIENT_PORT = 2379
ETCD_PEER_PORT = 2380
CONTAINERD_STREAM_PORT = 10010
KUBELET_PORT = 10250
CONTROLLER_MANAGER_PORT = 10257
SCHEDULER_PORT = 10259
KUBE2SKY_PORT = 10253
PROXY_METRICS_PORT = 10249
PROXY_HEALTH_PORT = 10256
VXLAN_PORT = 8472
WIREGUARD_PORT = 51820
