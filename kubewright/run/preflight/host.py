"""Findings on one host by itself: its system, kernel, disks, memory and clock."""

from __future__ import annotations

import re
from collections.abc import Iterator

from kubewright.errors import Problem
from kubewright.model.cluster import Node
from kubewright.model.places import HOME
from kubewright.observe.observed import Observed
from kubewright.releases import systems as tables
from kubewright.run.preflight.cluster import Cluster

MAX_SKEW = 60
"""Seconds. Certificates are valid from five minutes before they were issued; etcd warns from one second on."""
NEEDED_KIB = 4 << 20
"""For binaries and images, on a host that has none yet."""
NEEDED_MEMORY_KIB = 1700 << 10
"""kubeadm's minimum for a control plane (1700 MB)."""

Version = tuple[int, int]
KERNEL: Version = (4, 19)
"""kubeadm's minimum from 1.32 on."""
KERNEL_CGROUP2: Version = (5, 8)
"""For cgroup version 2 [kubernetes.io: About cgroup v2]."""
KERNEL_NFTABLES: Version = (5, 13)
"""For kube-proxy's nftables mode [kubernetes.io: Linux Kernel Version Requirements]."""

CONTROLLERS = {
    1: ("cpu", "cpuacct", "cpuset", "devices", "freezer", "memory", "pids"),
    # Devices and freezing are no controllers there.
    2: ("cpu", "cpuset", "memory", "pids"),
}
"""By cgroup version, what kubelet and runc must have; kubeadm asks for the same [k8s.io/system-validators]."""


def findings(cluster: Cluster, node: Node, host: Observed, now: float) -> Iterator[Problem]:
    yield from _system(node.name, host)
    if node.runs_pods:
        yield from _kernel(cluster, node, host)
        yield from _controllers(node.name, host)
    yield from _space(node.name, host)
    yield from _clock(node.name, host, now)
    yield from _memory(node, host)


def _system(name: str, host: Observed) -> Iterator[Problem]:
    if tables.system_of(host.os_id, host.os_version) is None:
        yield Problem(
            where=name,
            what=f"an operating system that kubewright does not know ({host.os_id or '?'} {host.os_version})",
            allowed=tables.supported(),
            todo="install one of these",
        )
    if host.architecture not in ("amd64", "arm64"):
        yield Problem(
            where=name,
            what=f"an unsupported architecture ({host.architecture})",
            allowed="amd64 or arm64",
            todo="use another host",
        )


def _kernel(cluster: Cluster, node: Node, host: Observed) -> Iterator[Problem]:
    numbers = re.match(r"(\d+)\.(\d+)", host.kernel)
    version = (int(numbers[1]), int(numbers[2])) if numbers else (0, 0)
    system = tables.system_of(host.os_id, host.os_version)
    needed = [(KERNEL, f"Kubernetes {node.release.kubernetes}")]
    if host.cgroup == 2:
        needed.append((KERNEL_CGROUP2, "cgroup version 2"))
    if system and tables.proxy_mode(system, cluster.plan.proxy_mode) == "nftables":
        needed.append((KERNEL_NFTABLES, "kube-proxy's nftables mode"))
    minimum, what_for = max(needed)
    if version < minimum:
        yield Problem(
            where=node.name,
            what=f"its kernel is too old (Linux {host.kernel})",
            allowed=f"{minimum[0]}.{minimum[1]} or later, for {what_for}",
            todo="boot a newer kernel of its system",
        )


def _controllers(name: str, host: Observed) -> Iterator[Problem]:
    missing = [c for c in CONTROLLERS[host.cgroup] if c not in host.cgroup_controllers]
    if missing:
        yield Problem(
            where=name,
            what=f"cgroup controllers that kubelet needs are missing ({', '.join(missing)})",
            allowed=f"with cgroup version {host.cgroup}: {', '.join(CONTROLLERS[host.cgroup])}",
            todo="enable them on the kernel's command line (no cgroup_disable=; some boards want cgroup_enable=), then reboot",
        )


def _space(name: str, host: Observed) -> Iterator[Problem]:
    fresh = not any(path.startswith(HOME) for path in host.manifest)
    told: set[tuple[str, int]] = set()
    for path, free in host.free_kib.items():
        needed = NEEDED_KIB if fresh and path in ("/opt", "/var/lib") else 100 << 10
        one = (host.file_systems.get(path, path), needed)
        if free < needed and one not in told:
            told.add(one)
            yield Problem(
                where=name,
                what=f"too little space under {path} ({free >> 10} MiB free)",
                allowed=f"at least {needed >> 10} MiB",
                todo="free some or mount a larger disk there",
            )


def _clock(name: str, host: Observed, now: float) -> Iterator[Problem]:
    if abs(host.clock - now) > MAX_SKEW:
        yield Problem(
            where=name,
            what=f"its clock differs from this machine's by {host.clock - now:+.0f} s",
            allowed=f"at most {MAX_SKEW} s",
            todo="synchronise both (chrony), certificates depend on it",
        )


def _memory(node: Node, host: Observed) -> Iterator[Problem]:
    if node.is_master and host.memory_kib < NEEDED_MEMORY_KIB:
        yield Problem(
            where=node.name,
            what=f"too little memory for a master ({host.memory_kib >> 10} MiB)",
            allowed=f"at least {NEEDED_MEMORY_KIB >> 10} MiB",
            todo="give it more, or make it a worker",
        )
