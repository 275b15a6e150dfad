"""Whether the plan can be carried out on the hosts as they are: every finding at once, before anything is written. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from kubewright.errors import Problem
from kubewright.plan.desired import HOME
from kubewright.plan.model import Node, Plan
from kubewright.plan.observed import Observed
from kubewright.plan.role import Role
from roles.base import tables

MAX_SKEW = 60
"""Seconds. Certificates are valid from five minutes before they were issued; etcd warns from one second on."""
NEEDED_KIB = 4 << 20
"""For binaries and images, on a host that has none yet."""
NEEDED_MEMORY_KIB = 1700 << 10
"""kubeadm's minimum for a control plane (1700 MB)."""


def problems(
    plan: Plan, roles: Sequence[Role], observed: Mapping[str, Observed], now: Mapping[str, float]
) -> tuple[Problem, ...]:
    """Findings on every host that answered. `now` is the operator's clock (Unix time) when each one was observed."""
    found: list[Problem] = []
    for node in (n for n in plan.nodes if n.name in observed):
        name, host = node.name, observed[node.name]
        found += [*_system(name, host), *_space(name, host), *_clock(name, host, now[name]), *_memory(node, host)]
        found += [*_members(plan, node, host), *_address(node, host), *_ports(plan, node, host, roles)]
    return tuple(found + list(_twins({n.name: observed[n.name] for n in plan.nodes if n.name in observed})))


def _system(name: str, host: Observed) -> Iterator[Problem]:
    if tables.system_of(host.os_id, host.os_version) is None:
        yield Problem(
            where=name,
            what=f"an operating system that kubewright does not know ({host.os_id or '?'} {host.os_version})",
            allowed=f"supported: {tables.supported()}",
            todo="install one of these",
        )
    if host.architecture not in ("amd64", "arm64"):
        yield Problem(
            where=name,
            what=f"an unsupported architecture ({host.architecture})",
            allowed="amd64 or arm64",
            todo="use another host",
        )


def _space(name: str, host: Observed) -> Iterator[Problem]:
    fresh = not any(path.startswith(HOME) for path in host.manifest)
    for path, free in host.free_kib.items():
        needed = NEEDED_KIB if fresh and path in ("/opt", "/var/lib") else 100 << 10
        if free < needed:
            yield Problem(
                where=name,
                what=f"too little space under {path} ({free >> 10} MiB free)",
                allowed=f"at least {needed >> 10} MiB",
                todo="free some or mount a larger disk there",
            )


def _memory(node: Node, host: Observed) -> Iterator[Problem]:
    if node.is_master and host.memory_kib < NEEDED_MEMORY_KIB:
        yield Problem(
            where=node.name,
            what=f"too little memory for a master ({host.memory_kib >> 10} MiB)",
            allowed=f"at least {NEEDED_MEMORY_KIB >> 10} MiB",
            todo="give it more, or make it a worker",
        )


def _members(plan: Plan, node: Node, host: Observed) -> Iterator[Problem]:
    planned = {n.name for n in plan.etcd_members}
    if host.etcd_members and host.etcd_members != planned:
        yield Problem(
            where=node.name,
            what=f"etcd's members are to change (from {', '.join(sorted(host.etcd_members))} to {', '.join(sorted(planned))})",
            allowed="apply keeps the members of a cluster that is there",
            todo="name the same ones in cluster.yaml; members are added and removed one at a time, through etcd itself",
        )


def _clock(name: str, host: Observed, now: float) -> Iterator[Problem]:
    if abs(host.clock - now) > MAX_SKEW:
        yield Problem(
            where=name,
            what=f"its clock differs from this machine's by {host.clock - now:+.0f} s",
            allowed=f"at most {MAX_SKEW} s",
            todo="synchronise both (chrony), certificates depend on it",
        )


def _address(node: Node, host: Observed) -> Iterator[Problem]:
    if str(node.address) not in host.addresses:
        yield Problem(
            where=node.name,
            what=f"no interface has its address ({node.address})",
            allowed=f"one of its own: {', '.join(a for a in host.addresses if not a.startswith('127.'))}",
            todo="correct hosts[].address in cluster.yaml, or ssh.host if this is another machine",
        )


def _ports(plan: Plan, node: Node, host: Observed, roles: Sequence[Role]) -> Iterator[Problem]:
    for role in (r for r in roles if r.runs_on(node)):
        if any(host.runs(unit) or unit in host.started_with for unit in role.units):
            continue
        for port in role.ports(plan, node):
            if port.process and (taken := host.listening.get((port.protocol, port.number))) is not None:
                yield Problem(
                    where=node.name,
                    what=f"port {port.number} is taken (by {taken or 'an unnamed process'})",
                    allowed=f"it must be free for {port.process}",
                    todo="stop what listens there, or move it",
                )


def _twins(observed: Mapping[str, Observed]) -> Iterator[Problem]:
    by_id: dict[str, list[str]] = {}
    for name, host in observed.items():
        by_id.setdefault(host.machine_id, []).append(name)
    for machine_id, names in by_id.items():
        if len(names) > 1:
            yield Problem(
                where=", ".join(names),
                what=f"the same machine-id ({machine_id})",
                allowed="each host has its own",
                todo="on clones: rm /etc/machine-id && systemd-machine-id-setup, then reboot",
            )
