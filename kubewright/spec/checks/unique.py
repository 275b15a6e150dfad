"""The values that no two hosts share: name, address, SSH target."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address

from kubewright.spec.model import ClusterSpec, HostSpec
from kubewright.spec.wording import Finding


def names_unique(spec: ClusterSpec) -> Iterator[Finding]:
    first: dict[str, int] = {}
    for index, host in enumerate(spec.hosts):
        other = first.setdefault(host.name, index)
        if other != index:
            yield Finding(
                at=("hosts", index, "name"),
                what=f"a name twice ({host.name} is hosts[{other}] too)",
                allowed="each name once",
                todo="rename one of them",
            )


def addresses_unique(spec: ClusterSpec) -> Iterator[Finding]:
    first: dict[IPv4Address, HostSpec] = {}
    for index, host in enumerate(spec.hosts):
        other = first.setdefault(host.address, host)
        if other is not host:
            yield Finding(
                at=("hosts", index, "address"),
                what=f"an address twice ({host.address} is {other.name} too)",
                allowed="each address once",
                todo="give one of them its own address",
            )


def ssh_targets_unique(spec: ClusterSpec) -> Iterator[Finding]:
    """Two hosts behind one SSH target are one machine, unless different jump hosts lead to them."""
    first: dict[tuple[str | None, int, str | None], HostSpec] = {}
    for index, host in enumerate(spec.hosts):
        ssh = spec.ssh_of(host)
        other = first.setdefault((ssh.host, ssh.port, ssh.jump), host)
        if other.address != host.address:  # equal addresses are addresses_unique's
            yield Finding(
                at=("hosts", index, "ssh"),
                what=f"an SSH target twice ({ssh.host}:{ssh.port} is {other.name} too)",
                allowed="each host and port once",
                todo="correct the `ssh` of one of them",
            )
