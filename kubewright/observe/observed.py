"""The observed state of a host, as types. One command prints it (`observed_script`), one function reads the output
(`observed_text`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from kubewright.model.lineage import PATH as LINEAGE
from kubewright.model.lineage import Lineage
from kubewright.observe.live import Api, Etcd
from kubewright.observe.objects import Listed

SECTION = "@@"
INSTALLED = "/var/lib/kubewright/installed"
EVERY = "*"
"""A socket that is bound to it is bound to all addresses of the host."""
ETCD_MARK = "/var/lib/kubewright/etcd-member"
"""Created once a host's etcd member serves. The file is outside the data folder: with it, a member never starts without
data."""
ETCD_RESTORED = "/var/lib/kubewright/etcd-restored"
"""After a restore: the token that the host's member got, and the sum of the snapshot."""
PAYLOADS = "/var/lib/kubewright/payloads"

OWN = ("/var/lib/kubewright", "/var/lib/kubewright/started", INSTALLED, LINEAGE, PAYLOADS)
"""kubewright's own records on a host."""

SYSCTLS = {
    "net.bridge.bridge-nf-call-iptables": "1",
    "net.ipv4.conf.all.rp_filter": "0",
    "net.ipv4.conf.default.rp_filter": "0",
    "net.ipv4.ip_forward": "1",
}
"""Kernel settings that pods' networking needs: templates/base/99-kubernetes.conf.j2. The running values are observed."""

LINK_FOLDERS = ("/usr/local/bin",)
"""Folders shared with other programs: only links into /opt/kubewright are listed."""

AUTHORITIES = (
    "/etc/kubernetes/pki/ca.crt",
    "/etc/etcd/pki/ca.crt",
    "/etc/kubernetes/pki/front-proxy-ca.crt",
    "/etc/kubernetes/pki/sa.pub",
)
"""Files whose certificates and public keys show the host's cluster, and the progress of rotations on the host."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A file system entry. `kind` is find's letter: f, d, l. `mode` is the permission bits."""

    kind: str
    mode: int
    owner: str
    group: str
    size: int
    target: str = ""
    sha256: str = ""


@dataclass(frozen=True, kw_only=True)
class UnitState:
    """systemd's ActiveState and UnitFileState, and since when it runs (microseconds since boot, 0: never)."""

    active: str = "inactive"
    enabled: str = ""
    started: str = ""
    needs_reload: bool = False


@dataclass(frozen=True, kw_only=True)
class Interface:
    """A network interface. `mac` is empty or all zeros where it has none."""

    name: str
    mtu: int
    mac: str


@dataclass(frozen=True, kw_only=True)
class Observed:
    """One host at one moment."""

    os_id: str
    os_version: str
    architecture: str
    kernel: str
    cgroup: int
    cgroup_controllers: frozenset[str]
    hostname: str
    machine_id: str
    clock: float
    memory_kib: int
    free_kib: Mapping[str, int]
    """By folder, for existing folders."""
    swap: bool
    selinux: str
    firewalld: bool
    initial_network_namespace: bool
    lowers_oom_score: bool
    addresses: tuple[str, ...]
    interfaces: Mapping[str, Interface]
    """By the interface's address."""
    listening: Mapping[tuple[str, int], str]
    """Process by protocol (`tcp`, `udp`) and port; an empty name where the kernel itself listens."""
    bound: Mapping[tuple[str, int], frozenset[str]]
    """The addresses that each of them is bound to; see EVERY."""
    packages: frozenset[str]
    users: frozenset[str]
    programs: frozenset[str]
    resolv_conf: str
    """The file with pods' DNS settings: systemd-resolved's own, where the usual one names its stub."""
    has_nameserver: bool
    """Whether it names DNS servers that pods reach too."""
    own_nameserver: bool = False
    """Whether it names a resolver on the host's loopback, which a pod would take for itself."""
    file_systems: Mapping[str, str] = field(default_factory=dict)
    """By the folders of `free_kib`: the device, or else the mount point. Folders with the same one share space."""
    sysctls: Mapping[str, str] = field(default_factory=dict)
    """Running values of SYSCTLS, if the kernel has the setting."""
    entries: Mapping[str, Entry] = field(default_factory=dict)
    manifest: Mapping[str, tuple[str, int]] = field(default_factory=dict)
    units: Mapping[str, UnitState] = field(default_factory=dict)
    started_with: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    installed: tuple[str, ...] = ()
    """The things that kubewright put on the host, from its record: `KIND PATH`."""
    etcd_data: bool = False
    """Whether the host has etcd's data: a write-ahead log."""
    etcd_marked: bool = False
    """Whether the host has ETCD_MARK."""
    payloads: tuple[str, ...] = ()
    """Binaries and images of its release and of the one before, from its record: see plan/payloads.py."""
    etcd_leads: bool = False
    """Whether its etcd member is the leader now."""
    etcd_token: str = ""
    """The name of the cluster that its etcd unit was written for."""
    etcd_restored: str = ""
    """The content of ETCD_RESTORED, empty where there is none."""
    authorities: frozenset[str] = frozenset()
    """The trusted certificates and public keys, PEM; see AUTHORITIES."""
    encryption_keys: frozenset[str] = frozenset()
    """Only the names of the keys with which its apiserver reads Secrets."""
    traces: tuple[str, ...] = ()
    """Traces of other installers. Observed only where kubewright has installed nothing yet, like the next field."""
    blocked: Mapping[tuple[str, int], str] = field(default_factory=dict)
    """Peers' ports (address, TCP port) that it could not reach, with the reason."""
    gateways: Mapping[str, str] = field(default_factory=dict)
    """By host address: the gateway on the way there. Observed only for the backend host-gw, which needs direct routes."""
    lacks_wireguard: bool = False
    """Whether its kernel can't make a WireGuard device. Observed only for the backend wireguard."""
    api: Api | None = None
    """The API's answer on a master; None when it was not asked, or did not answer."""
    etcd: Etcd | None = None
    """etcd's answer on an etcd host; None likewise."""
    configured: Mapping[str, str] = field(default_factory=dict)
    """Its components' configuration, by `UNIT FLAG`: see `live_script`."""
    lineage: Lineage | None = None
    """The host's copy of the cluster's record."""
    lineage_fault: str = ""
    """Why the record can't be read; empty when it can."""
    facts: Mapping[str, str] = field(default_factory=dict)
    """What the cluster said through this host of what is done in it; see `facts`. Only masters and etcd members ask."""
    objects: tuple[Listed, ...] = ()
    """The objects in the cluster that have kubewright's label, as the API listed them on a master; none unless all lists came."""

    def holds(self, path: str, sha256: str, size: int) -> bool:
        """Whether the host has a payload: the manifest names its sum, and the file still has its size (and sum, where
        rehashed)."""
        return path in self.entries and self.manifest.get(path) == (sha256, size) and not self.damaged(path)

    def damaged(self, path: str) -> bool:
        """Whether the host has a payload that differs from its manifest."""
        entry = self.entries.get(path)
        if entry is None:
            return False
        sha256, size = self.manifest.get(path, ("", -1))
        return entry.size != size or entry.sha256 not in ("", sha256)

    def runs(self, unit: str) -> bool:
        return self.units.get(unit, UnitState()).active in ("active", "activating", "reloading")

    @property
    def lost_etcd(self) -> bool:
        """Whether a member served here and its data is lost. The record of etcd's start is written when it serves."""
        return (self.etcd_marked or "etcd.service" in self.started_with) and not self.etcd_data

    @property
    def begun(self) -> bool:
        """Whether kubewright has begun to install here: its record comes first. If the record is lost, its binaries show it."""
        return bool(self.installed or self.manifest)
