"""The content of a cluster.yaml: a cluster and its hosts.

Owns the settings, their defaults and descriptions, and questions that cluster.yaml alone answers. The plan decides about hosts.
"""

from __future__ import annotations

from ipaddress import IPv4Address
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from kubewright.spec.addons import AddonText
from kubewright.spec.backups import Backup
from kubewright.spec.fields import Address, Reserved
from kubewright.spec.images import Images
from kubewright.spec.sections import (
    EMPTY_IS_DEFAULT,
    Api,
    Artifacts,
    ExtraArgs,
    HostSsh,
    Network,
    Pki,
    Secrets,
    Settings,
    Ssh,
    ip,
)
from kubewright.spec.shapes import DnsLabel, LabelKey, LabelValue, NodeName, Taint
from kubewright.spec.wording import refused
from kubewright.spec.workgroups import EMPTY_IS_NONE, EXAMPLE, Workgroup

Role = Literal["master", "etcd", "worker"]


def _roles_once(roles: tuple[Role, ...]) -> tuple[Role, ...]:
    if len(set(roles)) < len(roles):
        once = ", ".join(dict.fromkeys(roles))
        raise refused("a role twice", allowed="each of master, etcd, worker once", todo=f"write [{once}]")
    return roles


class HostSpec(Settings):
    """One host."""

    name: NodeName
    """The node's name in Kubernetes; may differ from the host name."""
    address: Address
    """The host's cluster address: all components listen on it and speak from it."""
    roles: Annotated[tuple[Role, ...], Field(min_length=1), AfterValidator(_roles_once)]
    """What runs here: master (API, controllers), etcd, worker (pods). If no host has etcd, masters run it."""
    ssh: Annotated[HostSsh, EMPTY_IS_DEFAULT] = HostSsh()
    """How this host is reached, where that differs from the cluster's `ssh`."""
    labels: Annotated[
        dict[LabelKey, LabelValue],
        EMPTY_IS_DEFAULT,
        Field(default_factory=dict, examples=[{"topology.kubernetes.io/zone": "a"}]),
    ]
    """Labels of the node."""
    taints: Annotated[tuple[Taint, ...] | None, Field(examples=[["dedicated=gpu:NoSchedule"]])] = None
    """Taints of the node; without it, masters are tainted unless there are no workers, workers are not."""
    system_reserved: Annotated[
        Reserved, EMPTY_IS_DEFAULT, Field(default_factory=dict, examples=[{"cpu": "500m", "memory": "512Mi"}])
    ]
    """What kubelet keeps free for the operating system."""
    kube_reserved: Annotated[
        Reserved, EMPTY_IS_DEFAULT, Field(default_factory=dict, examples=[{"cpu": "200m", "memory": "512Mi"}])
    ]
    """What kubelet keeps free for Kubernetes' own components."""
    extra_args: Annotated[ExtraArgs, EMPTY_IS_DEFAULT] = ExtraArgs()
    """Flags for this host's components; they come after the cluster's."""


class ClusterSpec(Settings):
    """A cluster: what kubewright installs, on which hosts, and how they are reached."""

    name: DnsLabel
    """The cluster's name."""
    kubernetes: str = "1.37.1"
    """The version of Kubernetes."""
    lab: Annotated[DnsLabel | None, Field(examples=["demo"])] = None
    """The local lab (`kubewright lab up`) that the hosts live in; leave it out for real hosts."""
    network: Annotated[Network, EMPTY_IS_DEFAULT] = Network()
    """Addresses inside the cluster, and how packets for them travel."""
    api: Annotated[Api, EMPTY_IS_DEFAULT] = Api()
    """The Kubernetes API."""
    pki: Annotated[Pki, EMPTY_IS_DEFAULT] = Pki()
    """Certificates and their authorities."""
    secrets: Annotated[Secrets, EMPTY_IS_DEFAULT] = Secrets()
    """The private keys on this machine."""
    artifacts: Annotated[Artifacts, EMPTY_IS_DEFAULT] = Artifacts()
    """Where binaries and images come from."""
    backup: Annotated[Backup, EMPTY_IS_DEFAULT] = Backup()
    """Snapshots of etcd that its hosts keep by themselves."""
    images: Annotated[Images, EMPTY_IS_DEFAULT] = Images()
    """Where hosts pull the images of pods from, and archives of images to import."""
    ssh: Annotated[Ssh, EMPTY_IS_DEFAULT] = Ssh()
    """How hosts are reached. A host may override each of these under its own `ssh`."""
    addons: Annotated[
        tuple[AddonText, ...],
        BeforeValidator(lambda value: () if value is None else value),
        Field(examples=[["metrics-server", "./manifests"]]),
    ] = ()
    """Add-ons that apply adds to the cluster: metrics-server, traefik, local-path, headlamp, or paths of folders with
    manifests of your own, relative to this file's folder."""
    extra_args: Annotated[ExtraArgs, EMPTY_IS_DEFAULT] = ExtraArgs()
    """Flags of components, without their leading dashes, beyond or instead of our own; null leaves ours out."""
    workgroups: Annotated[tuple[Workgroup, ...], EMPTY_IS_NONE, Field(examples=[EXAMPLE])] = ()
    """Namespaces for groups of people, each with a quota, limits of containers, a Pod Security level and people's roles."""
    hosts: Annotated[tuple[HostSpec, ...], Field(min_length=1)]
    """The hosts: one, three or five of them masters."""

    @property
    def masters(self) -> tuple[HostSpec, ...]:
        return tuple(host for host in self.hosts if "master" in host.roles)

    @property
    def workers(self) -> tuple[HostSpec, ...]:
        return tuple(host for host in self.hosts if "worker" in host.roles)

    @property
    def nodes(self) -> tuple[HostSpec, ...]:
        """The hosts that run a kubelet: masters and workers."""
        return tuple(host for host in self.hosts if {"master", "worker"} & set(host.roles))

    @property
    def etcd_hosts(self) -> tuple[HostSpec, ...]:
        """The members of etcd: the hosts with that role, or else the masters."""
        return tuple(host for host in self.hosts if "etcd" in host.roles) or self.masters

    @property
    def api_service_ip(self) -> IPv4Address:
        """The first address of the services, which the API takes as `kubernetes.default`."""
        return ip(self.network.services, 1)

    @property
    def dns_ip(self) -> IPv4Address:
        """The address of the cluster's DNS."""
        return self.network.dns or ip(self.network.services, 10)

    def ssh_of(self, host: HostSpec) -> Ssh:
        """How this host is reached: the cluster's settings, then the host's. `host` of the answer is always set."""
        own = {key: getattr(host.ssh, key) for key in host.ssh.model_fields_set}
        own["host"] = host.ssh.host or str(host.address)
        return self.ssh.model_copy(update=own)

    def extra_args_of(self, host: HostSpec, component: str) -> dict[str, str | None]:
        """The component's flags on this host: the cluster's, then the host's. None leaves a flag of ours out."""
        return self.extra_args.of(component) | host.extra_args.of(component)
