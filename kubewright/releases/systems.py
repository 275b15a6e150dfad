"""The differences between operating systems: one row each, with its source. No other code asks which OS a host runs."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class System:
    """One supported operating system. `os_id` and `versions` are os-release's ID and VERSION_ID (its major part)."""

    os_id: str
    versions: tuple[str, ...]
    family: str
    iptables_in_kernel: bool
    """Whether kube-proxy's iptables mode works: EL 10 dropped the kernel side."""
    source: str


SYSTEMS = (
    System(os_id="debian", versions=("12", "13"), family="debian", iptables_in_kernel=True, source="debian.org/releases"),
    System(
        os_id="ubuntu",
        versions=("24.04",),
        family="debian",
        iptables_in_kernel=True,
        source="ubuntu.com/about/release-cycle",
    ),
    *(
        System(os_id=os_id, versions=("9",), family="el", iptables_in_kernel=True, source="endoflife.date/centos-stream")
        for os_id in ("centos", "rhel", "rocky", "almalinux")
    ),
    *(
        System(os_id=os_id, versions=("10",), family="el", iptables_in_kernel=False, source="kubespray#13291, kops#17915")
        for os_id in ("centos", "rhel", "rocky", "almalinux")
    ),
)

PACKAGES = {
    # required program: its package in each family
    "debian": (
        ("conntrack", "conntrack", "kube-proxy removes stale UDP entries with it"),
        ("curl", "curl", "readiness probes over TLS with a client certificate"),
        ("ethtool", "ethtool", "flannel turns off checksum offload of its vxlan device"),
        ("ip", "iproute2", "flannel, kubelet"),
        ("iptables", "iptables", "flannel and kubelet's KUBE-* chains"),
        ("nft", "nftables", "kube-proxy in nftables mode; ports that are held for a moment"),
        ("socat", "socat", "port-forward"),
        ("tar", "tar", "transfers"),
        ("zstd", "zstd", "transfers"),
    ),
    "el": (
        ("conntrack", "conntrack-tools", "kube-proxy removes stale UDP entries with it"),
        ("curl", "curl", "readiness probes over TLS with a client certificate"),
        ("ethtool", "ethtool", "flannel turns off checksum offload of its vxlan device"),
        ("ip", "iproute", "flannel, kubelet"),
        ("iptables", "iptables-nft", "flannel and kubelet's KUBE-* chains"),
        ("nft", "nftables", "kube-proxy in nftables mode; ports that are held for a moment"),
        ("socat", "socat", "port-forward"),
        ("tar", "tar", "transfers"),
        ("zstd", "zstd", "transfers"),
        ("", "container-selinux", "SELinux types for containerd and its containers"),
    ),
}
"""Program (empty: none to look for), package, reason. A program that is installed already needs no package."""

# dnf waits for its lock itself. `patient` is act.sh's.
INSTALL = {
    "debian": "export DEBIAN_FRONTEND=noninteractive; "
    "patient apt-get -qq update && patient apt-get -qq install -y --no-install-recommends {packages} >/dev/null",
    "el": "dnf -q -y install {packages}",
}

PROGRAMS = ("haproxy", *sorted({program for rows in PACKAGES.values() for program, _, _ in rows if program}))
"""The programs that an observation looks for."""


def system_of(os_id: str, os_version: str) -> System | None:
    """The row of that os-release, or None: an OS that kubewright does not know."""
    for system in SYSTEMS:
        if system.os_id == os_id and (os_version in system.versions or os_version.partition(".")[0] in system.versions):
            return system
    return None


def proxy_mode(system: System, planned: str) -> str:
    """kube-proxy's mode: the spec's, or for `auto` the one that the system's kernel supports."""
    if planned != "auto":
        return planned
    return "iptables" if system.iptables_in_kernel else "nftables"


def supported() -> str:
    """The table in words, for messages."""
    versions: dict[str, list[str]] = {}
    for system in SYSTEMS:
        versions.setdefault(system.os_id, []).extend(system.versions)
    return ", ".join(f"{os_id} {'/'.join(rows)}" for os_id, rows in versions.items())
