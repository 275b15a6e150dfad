"""A move: a live cluster goes to another release, forwards or back. Pure.

Its plan has the new release on every node, and the order of its waves is the order of the move: etcd, apiservers, controllers,
nodes (`upgrade`), or nodes, controllers, apiservers, etcd (`rollback`). Resume needs no record: what runs says what is done.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Literal

from kubewright.observe.live import Live, active_version
from kubewright.observe.observed import Observed
from kubewright.releases import SUPPORTED, Release
from kubewright.releases.version import Version

EVICTION_SECONDS = 320
"""How long the pods of one node may take to leave it."""
UNITS = {
    "etcd": "etcd.service",
    "kube-apiserver": "kube-apiserver.service",
    "kube-controller-manager": "kube-controller-manager.service",
    "kube-scheduler": "kube-scheduler.service",
    "kubelet": "kubelet.service",
    "kube-proxy": "kube-proxy.service",
}
"""The unit of each component that has a version of its own, in the order of an upgrade."""
ETCD = "etcd"


@dataclass(frozen=True, kw_only=True)
class Move:
    """`verb` is the command that a person runs again to continue."""

    verb: Literal["upgrade", "rollback"]
    target: Release
    max_unavailable: int = 1
    """How many nodes may be drained at once."""
    eviction_seconds: int = EVICTION_SECONDS

    @property
    def command(self) -> str:
        """The command line, without the inventory."""
        return f"kubewright {self.verb} --to {self.target.kubernetes}"

    def version_of(self, component: str) -> Version:
        """The version that the component gets."""
        return Version.parse(self.target.etcd if component == ETCD else self.target.kubernetes)


@dataclass(frozen=True, kw_only=True)
class Running:
    """What runs: by component and host, its version."""

    components: Mapping[str, Mapping[str, Version]] = field(default_factory=dict)
    nodes: Mapping[str, Version] = field(default_factory=dict)
    """By node: its kubelet's version, as the API has it. Also nodes that cluster.yaml does not name."""

    def of(self, component: str) -> Mapping[str, Version]:
        return self.components.get(component, {})

    @property
    def kubelets(self) -> Mapping[str, Version]:
        """By node. What the API says counts only where the host does not say it itself."""
        return {**self.nodes, **self.of("kubelet")}

    @property
    def releases(self) -> frozenset[Version]:
        """All versions of Kubernetes that run on hosts of cluster.yaml. Other nodes are not moved, so they say nothing."""
        return frozenset(version for name, found in self.components.items() if name != ETCD for version in found.values())

    def begun(self, move: Move) -> bool:
        """Whether a part of the cluster has been moved already, and another has not."""
        kubernetes = {version == move.version_of("kubelet") for version in self.releases}
        etcd = {version == move.version_of(ETCD) for version in self.of(ETCD).values()}
        if {True, False} in (kubernetes, etcd) or (kubernetes, etcd) == ({True}, {False}):
            return True
        # Releases may share a version of etcd: then it says nothing.
        usual = {release.etcd for release in SUPPORTED if release.version in self.releases}
        return (kubernetes, etcd) == ({False}, {True}) and move.target.etcd not in usual


def interrupted(observed: Mapping[str, Observed], live: Live, among: Collection[str] = tuple(UNITS)) -> frozenset[str]:
    """The hosts on which a run was killed in the middle of a restart: a unit's record goes before it, and comes after it.

    `among`: the components that count.
    """
    return frozenset(
        name
        for name, host in observed.items()
        for component, unit in UNITS.items()
        if component in among and name in live.hosts and component in live.hosts[name].versions and unit not in host.started_with
    )


def running(observed: Mapping[str, Observed], live: Live) -> Running:
    """What runs on the hosts and on the nodes.

    A unit's version is that of the binary that it was started with; while it is not known, that of the active link.
    """
    components: dict[str, dict[str, Version]] = {}
    for name, host in observed.items():
        linked = live.hosts[name].versions if name in live.hosts else {}
        for component, unit in UNITS.items():
            started = host.started_with.get(unit, {}).get(f"/usr/local/bin/{component}", "")
            if version := active_version(started) or linked.get(component, ""):
                components.setdefault(component, {})[name] = Version.parse(version)
    nodes = {node.name: Version.parse(node.kubernetes) for node in (live.api.nodes if live.api else ()) if node.kubernetes}
    return Running(components=components, nodes=nodes)
