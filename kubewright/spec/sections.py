"""The sections of a cluster.yaml, each setting with its default and what it means."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Mapping
from functools import cache
from ipaddress import IPv4Address, IPv4Network
from itertools import pairwise
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from kubewright.spec.fields import (
    Address,
    Days,
    FilePath,
    Flags,
    Port,
    PortRange,
    Range,
    SubjectName,
)
from kubewright.spec.shapes import DnsServer, Domain, EnvName, HostsUrl, Jump, MirrorUrl, SshHost, User

# `network:` with every line below it commented out is null in YAML; the person means the defaults.
EMPTY_IS_DEFAULT = BeforeValidator(lambda value: {} if value is None else value)


class Settings(BaseModel):
    """What all sections share: frozen, no unknown keys, the text below a setting is its description."""

    # Built with the whole cluster.yaml, when one is read.
    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    @classmethod
    @cache
    def descriptions(cls) -> Mapping[str, str]:
        """The text below each setting, in one line, by the setting's name.

        Read from the source on demand (pydantic's own way, use_attribute_docstrings, reads it at every start).
        """
        above = [base for base in cls.__bases__ if issubclass(base, Settings)]
        inherited = {name: text for section in above for name, text in section.descriptions().items()}
        (written,) = ast.parse(inspect.getsource(cls)).body
        assert isinstance(written, ast.ClassDef)
        own = {
            setting.target.id: " ".join(text.value.value.split())
            for setting, text in pairwise(written.body)
            if isinstance(setting, ast.AnnAssign) and isinstance(setting.target, ast.Name)
            if isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant) and isinstance(text.value.value, str)
        }
        return {**inherited, **own}


class Network(Settings):
    """Addresses inside the cluster, and how packets for them travel."""

    pods: Range = IPv4Network("10.244.0.0/16")
    """Addresses of pods. Each node takes one part of it, /24 unless pod_prefix_length says otherwise."""
    services: Range = IPv4Network("10.96.0.0/16")
    """Virtual addresses of services, from /12 to /28. The first one is the API's."""
    domain: Domain = "cluster.local"
    """The DNS domain of services."""
    dns: Annotated[Address | None, Field(examples=["10.96.0.10"])] = None
    """Address of the cluster's DNS inside the services range; without it, the range's tenth address."""
    dns_provider: Literal["coredns", "skydns"] = "coredns"
    """Where the cluster's DNS takes names from: coredns reads the API; skydns reads etcd, where kube2sky writes them."""
    dns_upstreams: Annotated[tuple[DnsServer, ...], Field(examples=[["192.0.2.53", "192.0.2.54:5353"]])] = ()
    """DNS servers for names outside the cluster, as IP or IP:port, at most 15; without them, those of the host that a CoreDNS
    pod runs on."""
    dns_stub_domains: Annotated[dict[Domain, tuple[DnsServer, ...]], EMPTY_IS_DEFAULT] = Field(
        default_factory=dict, examples=[{"corp.example.org": ["192.0.2.53"]}]
    )
    """Domains with DNS servers of their own, as IP or IP:port, at most 15 for each domain."""
    dns_zones: Annotated[tuple[Domain, ...], Field(examples=[["hosts.example.org"]])] = ()
    """Domains outside the cluster's own whose names `kubewright dns add` keeps; for dns_provider skydns only."""
    node_ports: PortRange = "30000-32767"
    """Ports that services of type NodePort take on every node."""
    backend: Literal["vxlan", "host-gw", "wireguard"] = "vxlan"
    """How flannel carries packets between nodes; host-gw needs all nodes in one network segment."""
    proxy_mode: Literal["auto", "iptables", "nftables"] = "auto"
    """How kube-proxy writes its rules; auto is nftables where the kernel has no iptables, else iptables."""
    pod_prefix_length: Annotated[int, Field(strict=True, ge=16, le=28)] = 24
    """Length of each node's part of the pods range: 24 leaves a node 254 addresses."""


class Api(Settings):
    """The Kubernetes API."""

    port: Port = 6443
    """The port that every master's kube-apiserver listens on."""
    extra_sans: Annotated[tuple[SubjectName, ...], Field(examples=[["api.example.org", "192.0.2.10"]])] = ()
    """Names and addresses beyond the hosts' own by which people reach the API; they enter its certificate."""
    external_ips: bool = False
    """Whether a Service may have externalIPs. With them, a user who may create Services can take traffic that is meant for any
    address (CVE-2020-8554); CIS asks to deny them."""


class Pki(Settings):
    """Certificates and their authorities."""

    algorithm: Literal["ecdsa-p256", "rsa-2048", "rsa-4096"] = "ecdsa-p256"
    """The kind of every key."""
    ca_days: Days = 3650
    """Lifetime of the authorities, in days."""
    leaf_days: Days = 365
    """Lifetime of all other certificates, in days."""
    renew_before_days: Days = 90
    """A certificate with fewer days left than this is renewed by the next apply."""
    kubernetes_ca: Annotated[FilePath | None, Field(examples=["authorities/kubernetes.crt"])] = None
    """An authority of your own for apiservers, kubelets, controllers and people, PEM: first its certificate, then what
    issuers up to the root. Hosts trust the authority itself, not its root. Without it, kubewright makes one."""
    kubernetes_ca_key: Annotated[FilePath | None, Field(examples=["secrets/kubernetes-ca.key"])] = None
    """Its private key, PEM, mode 0600, taken into the store at first use. Without it, certificates are signed where the
    key is: kubewright certs requests, certs import."""
    etcd_ca: Annotated[FilePath | None, Field(examples=["authorities/etcd.crt"])] = None
    """The same for etcd and its clients; each of the three is another authority."""
    etcd_ca_key: Annotated[FilePath | None, Field(examples=["secrets/etcd-ca.key"])] = None
    """The private key of etcd_ca."""
    front_proxy_ca: Annotated[FilePath | None, Field(examples=["authorities/front-proxy.crt"])] = None
    """The same for the apiserver as a client of aggregated APIs; each of the three is another authority."""
    front_proxy_ca_key: Annotated[FilePath | None, Field(examples=["secrets/front-proxy-ca.key"])] = None
    """The private key of front_proxy_ca."""


class Secrets(Settings):
    """The private keys on this machine. `kubewright secrets encrypt` puts them into an Ansible Vault file."""

    password_file: Annotated[FilePath | None, Field(examples=["~/.kubewright-password"])] = None
    """The vault's password: a file with mode 0600, or a program that prints it (as ansible's vault password clients).
    Without it, the password is asked for on the terminal."""


class Artifacts(Settings):
    """Where binaries and images come from. The hosts' architecture decides which."""

    source: Literal["auto", "release", "mirror", "directory", "gomod"] = "auto"
    """release: upstream's addresses; gomod: built from Go modules; auto: release if reachable, else gomod;
    mirror and directory: the two settings below."""
    mirror: Annotated[MirrorUrl | None, Field(examples=["https://mirror.example.org/kubewright"])] = None
    """Where upstream's files are mirrored; for source mirror only. A user and password for it come from ~/.netrc, for images
    also from ~/.docker/config.json."""
    directory: Annotated[FilePath | None, Field(examples=["/srv/kubewright-bundle"])] = None
    """An unpacked bundle; for source directory only. Relative to this file's folder."""
    hosts_fetch_from: Annotated[HostsUrl | None, Field(examples=["http://files.example.org/kubewright"])] = None
    """Where hosts fetch binaries and images themselves, instead of getting them over SSH: any file server, without a password,
    with the files that `kubewright artifacts fetch --to FOLDER` writes. Only their sums are trusted."""


class Ssh(Settings):
    """How hosts are reached. A host may override each of these under its own `ssh`."""

    host: Annotated[SshHost | None, Field(examples=["192.0.2.11"])] = None
    """Where SSH connects to, for a host only; without it, the host's address."""
    user: User = "root"
    """The login user: root, or one with sudo."""
    port: Port = 22
    """The port that sshd listens on."""
    key: Annotated[FilePath | None, Field(examples=["~/.ssh/id_ed25519"])] = None
    """Private key file, relative to this file's folder; without it, the SSH agent's keys."""
    known_hosts: Annotated[FilePath | None, Field(examples=["known_hosts"])] = None
    """The hosts' public keys, relative to this file's folder; without it, ~/.ssh/known_hosts. Always checked."""
    jump: Annotated[Jump | None, Field(examples=["admin@bastion.example.org:22"])] = None
    """A host to go through, as user@host:port."""
    sudo_password_file: Annotated[FilePath | None, Field(examples=["secrets/sudo"])] = None
    """A file that holds the sudo password, readable by you alone (mode 0600)."""
    sudo_password_env: Annotated[EnvName | None, Field(examples=["KUBEWRIGHT_SUDO_PASSWORD"])] = None
    """The environment variable that holds the sudo password."""


class HostSsh(Ssh):
    """What differs from the cluster's `ssh` for this host; the rest is taken from there, null takes a setting away."""


class ExtraArgs(Settings):
    """Flags of components, without their leading dashes, beyond or instead of our own; null leaves ours out."""

    kube_apiserver: Flags = Field(default_factory=dict, alias="kube-apiserver", examples=[{"audit-log-maxage": "60"}])
    """Flags of kube-apiserver."""
    kube_controller_manager: Flags = Field(default_factory=dict, alias="kube-controller-manager")
    """Flags of kube-controller-manager."""
    kube_scheduler: Flags = Field(default_factory=dict, alias="kube-scheduler")
    """Flags of kube-scheduler."""
    kubelet: Flags = Field(default_factory=dict, examples=[{"v": "4"}])
    """Flags of kubelet."""
    kube_proxy: Flags = Field(default_factory=dict, alias="kube-proxy")
    """Flags of kube-proxy."""
    etcd: Flags = Field(default_factory=dict, examples=[{"quota-backend-bytes": "8589934592"}])
    """Flags of etcd."""
    flanneld: Flags = Field(default_factory=dict)
    """Flags of flanneld."""

    def of(self, component: str) -> dict[str, str | None]:
        """The flags of `component`, named as upstream names it (kube-apiserver); none for components without any."""
        flags: Any = getattr(self, component.replace("-", "_"), {})
        return dict(flags)


def ip(network: IPv4Network, number: int) -> IPv4Address:
    """The network's address with this number."""
    return IPv4Address(int(network.network_address) + number)
