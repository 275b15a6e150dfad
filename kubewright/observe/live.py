"""The live cluster as types: the answers of its API and etcd, and the configuration on its hosts. Pure.

The command that observes a host also asks the masters and etcd hosts, so the cluster costs no extra round trip.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, TypeVar

from kubewright.model.lineage import Lineage, Member, cluster_of
from kubewright.model.places import HOME

if TYPE_CHECKING:
    from kubewright.observe.observed import Observed

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class LiveNode:
    """A Node object. `ready` is false, too, where the condition is Unknown."""

    name: str
    machine_id: str
    kubernetes: str
    """kubelet's version, without a leading `v`."""
    ready: bool
    schedulable: bool
    address: str
    """Its InternalIP."""
    held: bool = False
    """Whether kubewright has cordoned it: an interrupted run left it so."""


@dataclass(frozen=True, kw_only=True)
class Api:
    """The API's answer to a master. Empty text: not in the answer."""

    nodes: tuple[LiveNode, ...]
    uid: str = ""
    """The UID of the namespace kube-system, which stands for the cluster's identity."""
    created: str = ""
    """That namespace's creation, RFC 3339."""
    services: str = ""
    """The ServiceCIDR called `kubernetes`."""
    dns: str = ""
    """The cluster IP of the Service kube-dns."""
    domain: str = ""
    """From the issuer of service accounts' tokens."""


@dataclass(frozen=True, kw_only=True)
class PodSubnet:
    """One host's lease from flannel."""

    address: str
    """The host's address."""
    subnet: str
    """The range of its pods, `10.244.3.0/24`."""
    backend: str
    """The backend that its flanneld started with."""


@dataclass(frozen=True, kw_only=True)
class Etcd:
    """etcd's answer to one of its hosts, with the administrator's certificate."""

    cluster_id: str
    """Hexadecimal."""
    members: tuple[Member, ...]
    learners: frozenset[str] = frozenset()
    """The IDs of members without a vote."""
    alarms: tuple[str, ...] = ()
    """`NOSPACE` or `CORRUPT`, each with the member's ID: `NOSPACE 8e9e05c52164694d`."""
    pods: str = ""
    """The Network of flannel's configuration."""
    network: str = ""
    """That configuration, verbatim."""
    pod_prefix_length: str = ""
    backend: str = ""
    leases: tuple[PodSubnet, ...] = ()
    """flannel's leases, also of hosts that left the cluster less than a day ago."""


@dataclass(frozen=True, kw_only=True)
class Host:
    """One host's part in the cluster, from its files. Empty where they do not say."""

    machine_id: str
    node: str
    """The name of its node, or of its etcd member."""
    addresses: frozenset[str]
    """The addresses in its components' configuration."""
    roles: frozenset[str]
    """`master`, `etcd`, `node`: those whose installation kubewright has begun."""
    versions: Mapping[str, str]
    """By binary: the version of the active link."""
    settings: Mapping[str, str]
    """By setting of cluster.yaml: the value in its components' configuration."""


@dataclass(frozen=True, kw_only=True)
class Live:
    """The live cluster. `api` and `etcd` are the first complete answers, None when no host got one."""

    api: Api | None = None
    etcd: Etcd | None = None
    records: tuple[Lineage, ...] = ()
    """The lineage records on hosts, newest first."""
    hosts: Mapping[str, Host] = field(default_factory=dict)
    """By the host's name in cluster.yaml."""

    @property
    def uid(self) -> str:
        return self.api.uid if self.api else ""

    @cached_property
    def settings(self) -> Mapping[str, str]:
        """By setting: the live cluster's value. The API and etcd come first, then the hosts' configuration."""
        found: dict[str, str] = {}
        for host in self.hosts.values():
            for setting, value in host.settings.items():
                found.setdefault(setting, value)
        if self.api:
            found |= {"network.services": self.api.services, "network.dns": self.api.dns, "network.domain": self.api.domain}
        if self.etcd:
            found |= {
                "network.pods": self.etcd.pods,
                "network.pod_prefix_length": self.etcd.pod_prefix_length,
                "network.backend": self.etcd.backend,
            }
        return {setting: value for setting, value in found.items() if value}


UNITS = {"master": "kube-apiserver.service", "etcd": "etcd.service", "node": "kubelet.service"}
"""By part in the cluster, the unit that shows it."""
_ACTIVE = re.compile(rf"{re.escape(HOME)}/[^/]+/(.+)-[0-9a-f]{{8}}/")


def active_version(path: str) -> str:
    """The version in the path of a binary in its versioned folder; empty for another path."""
    found = _ACTIVE.match(path)
    return found[1] if found else ""


def host(observed: Observed) -> Host:
    """The host's part in the cluster, from its files."""
    told = observed.configured
    links = {path.rpartition("/")[2]: e.target for path, e in observed.entries.items() if e.kind == "l"}
    return Host(
        machine_id=observed.machine_id,
        node=told.get("kubelet hostname-override", "") or told.get("etcd name", ""),
        addresses=frozenset(filter(None, (told.get("kubelet node-ip"), told.get("kube-apiserver advertise-address")))),
        roles=frozenset(role for role, unit in UNITS.items() if f"unit {unit}" in observed.installed),
        versions={binary: version for binary, target in links.items() if (version := active_version(target))},
        settings={setting: value for setting, value in _settings(told).items() if value},
    )


def _settings(told: Mapping[str, str]) -> dict[str, str]:
    issuer = told.get("kube-apiserver service-account-issuer", "")
    subnet = told.get("flannel FLANNEL_SUBNET", "")
    return {
        "name": cluster_of(told.get("etcd initial-cluster-token", "")),
        "api.port": told.get("kube-apiserver secure-port", ""),
        "network.services": told.get("kube-apiserver service-cluster-ip-range", ""),
        "network.pods": told.get("kube-controller-manager cluster-cidr", ""),
        "network.pod_prefix_length": subnet.partition("/")[2],
        "network.domain": domain_of(issuer) or told.get("kubelet clusterDomain", ""),
        "network.dns": told.get("kubelet clusterDNS", ""),
    }


def domain_of(issuer: str) -> str:
    """The DNS domain in the issuer that kubewright gives service accounts' tokens; empty for any other."""
    prefix = "https://kubernetes.default.svc."
    return issuer.removeprefix(prefix) if issuer.startswith(prefix) else ""


def live_of(observed: Mapping[str, Observed]) -> Live:
    """The live cluster, from all hosts' answers. The first master and the first etcd host that got an answer count."""
    records = (o.lineage for o in observed.values() if o.lineage is not None)
    return Live(
        api=_first(o.api for o in observed.values()),
        etcd=_first(o.etcd for o in observed.values()),
        records=tuple(sorted(records, key=lambda record: -record.generation)),
        hosts={name: host(o) for name, o in observed.items() if o.begun},
    )


def _first(answers: Iterable[T | None]) -> T | None:
    return next((answer for answer in answers if answer is not None), None)
