"""spec -> plan: every decision that needs no host. Pure, but for add-ons, and CAs and passwords of registries, which it reads."""

from __future__ import annotations

from ipaddress import AddressValueError, IPv4Address

from kubewright.model.cluster import SKYDNS, Node, Plan
from kubewright.model.images import decided
from kubewright.model.workgroups import Workgroup
from kubewright.releases import Release, release_for
from kubewright.spec import ClusterSpec, HostSpec, manifests
from kubewright.spec.checks.addons import addons_on
from pki.decisions import Policy

CONTROL_PLANE = "node-role.kubernetes.io/control-plane"
COMPONENTS = (
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kubelet",
    "kube-proxy",
    "etcd",
    "flanneld",
)


def _node(spec: ClusterSpec, host: HostSpec, etcd: frozenset[str], release: Release) -> Node:
    is_master = "master" in host.roles
    runs_pods = is_master or "worker" in host.roles
    # A master has the taint unless it is a worker too, or the cluster has no workers.
    tainted = is_master and "worker" not in host.roles and bool(spec.workers)
    default_taints = (f"{CONTROL_PLANE}:NoSchedule",) if tainted else ()
    labels = {CONTROL_PLANE: "", **host.labels} if is_master else dict(host.labels)
    return Node(
        name=host.name,
        address=host.address,
        release=release,
        is_master=is_master,
        is_etcd=host.name in etcd,
        is_worker="worker" in host.roles,
        labels=labels if runs_pods else {},
        taints=default_taints if host.taints is None else host.taints,
        system_reserved={str(k): v for k, v in host.system_reserved.items()},
        kube_reserved={str(k): v for k, v in host.kube_reserved.items()},
        snapshots=spec.backup.snapshots if host.name in etcd and spec.backup.snapshots != "off" else "",
        snapshots_kept=spec.backup.keep,
        extra_args={name: spec.extra_args_of(host, name) for name in COMPONENTS},
        addons=addons_on(spec, host),
        has_skydns=spec.network.dns_provider == SKYDNS,
        applies_addons=is_master and bool(spec.addons),
    )


def _sans(names: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[IPv4Address, ...]]:
    dns, addresses = [], []
    for name in names:
        try:
            addresses.append(IPv4Address(name))
        except AddressValueError:
            dns.append(name)
    return tuple(dns), tuple(addresses)


_LIMITS = {"default": "default", "default_request": "defaultRequest", "max": "max", "min": "min"}
"""The settings, as a LimitRange names them."""


def _workgroups(spec: ClusterSpec) -> tuple[Workgroup, ...]:
    return tuple(
        Workgroup(
            name=group.name,
            quota=dict(group.quota),
            limits={_LIMITS[name]: dict(found) for name, found in group.limits.model_dump().items() if found},
            pod_security=group.pod_security,
            people=dict(group.people),
        )
        for group in spec.workgroups
    )


def make_plan(spec: ClusterSpec) -> Plan:
    """The plan of a spec that `kubewright.spec.load` accepted. The add-ons' folders are read: BadInput if they have become
    unusable since."""
    names, addresses = _sans(tuple(str(name) for name in spec.api.extra_sans))
    etcd, release = frozenset(host.name for host in spec.etcd_hosts), release_for(spec.kubernetes)
    return Plan(
        cluster=spec.name,
        release=release,
        nodes=tuple(_node(spec, host, etcd, release) for host in spec.hosts),
        pods=spec.network.pods,
        services=spec.network.services,
        pod_prefix_length=spec.network.pod_prefix_length,
        api_service_address=spec.api_service_ip,
        dns_address=spec.dns_ip,
        domain=spec.network.domain,
        node_ports=spec.network.node_ports,
        api_port=spec.api.port,
        external_ips=spec.api.external_ips,
        api_names=names,
        api_addresses=addresses,
        backend=spec.network.backend,
        proxy_mode=spec.network.proxy_mode,
        dns_provider=spec.network.dns_provider,
        dns_upstreams=spec.network.dns_upstreams,
        dns_stub_domains=spec.network.dns_stub_domains,
        dns_zones=spec.network.dns_zones,
        certificates=Policy(
            algorithm=spec.pki.algorithm,
            ca_days=spec.pki.ca_days,
            leaf_days=spec.pki.leaf_days,
            renew_before_days=spec.pki.renew_before_days,
        ),
        addons=tuple(map(manifests.of, spec.addons)),
        workgroups=_workgroups(spec),
        images=decided(spec.images),
        hosts_fetch_from=str(spec.artifacts.hosts_fetch_from or "").rstrip("/"),
    )
