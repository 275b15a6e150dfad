"""Findings on what is not ours: other installers' leftovers, other clusters' hosts, clones of one machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from posixpath import basename

from kubewright.errors import Problem
from kubewright.model.cluster import Node
from kubewright.model.lineage import cluster_of
from kubewright.observe.installers import INSTALLERS, leaves
from kubewright.observe.observed import AUTHORITIES, Observed
from kubewright.run.preflight import newer
from kubewright.run.preflight.cluster import Cluster

CNI = "/etc/cni/net.d"
CNI_OURS = "10-flannel.conflist"
CNI_SUFFIXES = (".conf", ".conflist", ".json")
"""containerd takes the first of these by name [containerd: pkg/cri, go-cni]."""
_BARE = "a host without parts of another cluster"


def findings(cluster: Cluster, node: Node, host: Observed) -> Iterator[Problem]:
    """A host is ours once our record is there, which comes before everything else: an interrupted apply is ours."""
    if host.begun:
        yield from _other_cluster(cluster, node, host)
    else:
        yield from _installers(node.name, host)
        yield from _units(cluster, node, host)
        yield from _networks(node, host)
        yield from newer.keys(cluster, node, host)


def foreign(cluster: Cluster, host: Observed) -> bool:
    """Whether another cluster is on that host: its authorities are not ours, or there are none and its etcd is another's."""
    if host.authorities:
        return host.begun and not host.authorities & cluster.authorities
    return host.begun and bool(host.etcd_token) and cluster_of(host.etcd_token) != cluster.plan.cluster


def _other_cluster(cluster: Cluster, node: Node, host: Observed) -> Iterator[Problem]:
    name = cluster.plan.cluster
    # With our own authorities it is this cluster, renamed: `transition` refuses that.
    if foreign(cluster, host) and host.etcd_token and cluster_of(host.etcd_token) != name:
        yield Problem(
            where=node.name,
            what=f"it belongs to another cluster, by its etcd's --initial-cluster-token ({host.etcd_token})",
            allowed=f"a host of {name}, or one without a cluster",
            todo="take it out of cluster.yaml, or reset it with that cluster's inventory; if it is this one, put its name back",
        )
    elif host.authorities and not host.authorities & cluster.authorities:
        yield Problem(
            where=node.name,
            what=f"it belongs to another cluster, by the authority that it trusts ({' and '.join(_trusting(host))})",
            allowed=f"one of {name}'s own, which certificates.json holds",
            todo="take it out of cluster.yaml, or reset it with that cluster's inventory; "
            "if it is this one, restore certificates.json and secrets/ from a backup",
        )
    else:
        yield from newer.authorities(cluster, node, host)
        yield from newer.keys(cluster, node, host)


def _trusting(host: Observed) -> list[str]:
    return [path for path in AUTHORITIES if path in host.entries] or list(AUTHORITIES)


def _installers(name: str, host: Observed) -> Iterator[Problem]:
    for installer in INSTALLERS:
        if found := [path for path in host.traces if leaves(installer, path)]:
            yield Problem(
                where=name,
                what=f"{installer.name} left something here ({', '.join(found)})",
                allowed=_BARE,
                todo=installer.todo,
            )


def _units(cluster: Cluster, node: Node, host: Observed) -> Iterator[Problem]:
    for unit in (u for role in cluster.roles if role.runs_on(node) for u in role.units):
        path = f"/etc/systemd/system/{unit}"
        if path in host.entries or host.runs(unit):
            how = path if path in host.entries else "it runs"
            yield Problem(
                where=node.name,
                what=f"{unit} exists already, and is not kubewright's ({how})",
                allowed="no unit of that name that kubewright did not write",
                todo=f"systemctl disable --now {unit}, then remove the unit or its package",
            )


def _networks(node: Node, host: Observed) -> Iterator[Problem]:
    files = (path for path in sorted(host.entries) if path.startswith(f"{CNI}/") and path.endswith(CNI_SUFFIXES))
    for path in files if node.runs_pods else ():
        if basename(path) <= CNI_OURS:
            yield Problem(
                where=node.name,
                what=f"another pod network's configuration would be taken instead of ours ({path})",
                allowed=f"none that comes before {CNI_OURS}",
                todo="remove it, with what installed it",
            )


def clones(cluster: Cluster) -> Iterator[Problem]:
    """Hosts that share what each must have for itself."""
    todo = "on clones: rm /etc/machine-id && systemd-machine-id-setup, then reboot"
    yield from _shared(cluster, "machine-id", lambda _, host: host.machine_id, todo)
    todo = "on clones: give each virtual machine's network card an address of its own"
    yield from _shared(cluster, "MAC address", _mac, todo)
    # Nodes, members and leaders are named otherwise; apiservers call themselves by a hash of the hostname [apiserver:
    # pkg/server/config.go] and would share one lease in kube-system, so that one stands for both.
    todo = "hostnamectl set-hostname NAME, another on each master"
    yield from _shared(cluster, "hostname", lambda node, host: host.hostname if node.is_master else "", todo)


def _mac(node: Node, host: Observed) -> str:
    interface = host.interfaces.get(str(node.address))
    return interface.mac if interface and interface.mac.strip("0:") else ""


def _shared(cluster: Cluster, what: str, of: Callable[[Node, Observed], str], todo: str) -> Iterator[Problem]:
    names: dict[str, list[str]] = {}
    for node, host in cluster.hosts:
        if value := of(node, host):
            names.setdefault(value, []).append(node.name)
    for value, found in names.items():
        if len(found) > 1:
            yield Problem(where=", ".join(found), what=f"the same {what} ({value})", allowed="each host has its own", todo=todo)
