"""The requirements of a lab: one message names everything that the machine lacks."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

from kubewright.errors import HostsUnfit, Problem
from kubewright.lab import cgroup
from kubewright.lab.base import OS_RELEASE
from kubewright.lab.sources import codename, machine_sources

PROGRAMS = {
    "ip": "iproute2",
    "nsenter": "util-linux",
    "unshare": "util-linux",
    "mmdebstrap": "mmdebstrap",
    "ssh": "openssh-client",
    "ssh-keygen": "openssh-client",
    "setpriv": "util-linux",
    "openssl": "openssl",
}
"""Program and Debian's package of it."""

_HERE = "this machine"
_NETLINK_NETFILTER = 12


def _programs() -> Iterator[Problem]:
    missing = {program: package for program, package in PROGRAMS.items() if shutil.which(program) is None}
    if missing:
        packages = " ".join(sorted(set(missing.values())))
        yield Problem(
            where=_HERE, what=f"missing programs ({', '.join(missing)})", allowed="", todo=f"apt-get install {packages}"
        )


def _filesystems() -> Iterator[Problem]:
    # Tested by a mount in a mount namespace of its own, since the kernel may have to load a module.
    script = (
        "mount -t tmpfs tmpfs /mnt && cd /mnt && mkdir lower upper work root && "
        "mount -t overlay -o lowerdir=lower,upperdir=upper,workdir=work overlay root"
    )
    if subprocess.run(["unshare", "--mount", "sh", "-c", script], capture_output=True, check=False).returncode != 0:
        yield Problem(
            where=_HERE,
            what="no overlay file system can be mounted",
            allowed="",
            todo="modprobe overlay, or use another kernel",
        )


def _namespaces() -> Iterator[Problem]:
    missing = [n for n in ("mnt", "pid", "ipc", "uts", "cgroup", "net") if not Path(f"/proc/self/ns/{n}").exists()]
    if missing:
        yield Problem(
            where=_HERE,
            what=f"the kernel has no namespaces of kind {', '.join(missing)}",
            allowed="",
            todo="use another kernel",
        )


def _devices() -> Iterator[Problem]:
    # In a namespace of its own, to leave the machine's network alone.
    for kind, extra in (("veth", ""), ("bridge", ""), ("vxlan", "id 1 dstport 8472")):
        done = subprocess.run(
            ["unshare", "--net", "sh", "-c", f"ip link add kwtry type {kind} {extra}"], capture_output=True, check=False
        )
        if done.returncode != 0:
            yield Problem(
                where=_HERE,
                what=f"the kernel makes no {kind} device",
                allowed="",
                todo=f"modprobe {kind}, or use another kernel",
            )


def _controllers() -> Iterator[Problem]:
    missing = {"cpu", "cpuset", "memory", "pids"} - cgroup.controllers()
    if missing:
        todo = "mount them under /sys/fs/cgroup"
        yield Problem(where=_HERE, what=f"missing cgroup controllers ({', '.join(sorted(missing))})", allowed="", todo=todo)


def _netfilter() -> Iterator[Problem]:
    try:
        socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_NETFILTER).close()
    except OSError:
        todo = "modprobe nf_tables, or use another kernel"
        yield Problem(where=_HERE, what="the kernel has no netfilter (nftables, iptables)", allowed="", todo=todo)


def _bridged() -> Iterator[Problem]:
    # Pods' packets over a bridge must meet the rules of services. A host can't load a module.
    if not Path("/proc/sys/net/bridge").exists():
        subprocess.run(["modprobe", "-q", "br_netfilter"], capture_output=True, check=False)
    if not Path("/proc/sys/net/bridge").exists():
        todo = "modprobe br_netfilter, or use another kernel"
        yield Problem(where=_HERE, what="the kernel does not filter what bridges carry", allowed="", todo=todo)


def _sources(suite: str) -> Iterator[Problem]:
    offers = machine_sources(suite)
    if not offers:
        yield Problem(
            where="/etc/apt",
            what=f"no source of this machine's own release ({suite or 'os-release names none'})",
            allowed="hosts are made from the machine's sources: Debian's or Ubuntu's, by the release's name (not `stable`)",
            todo="write one into /etc/apt/sources.list.d",
        )
    elif "ID=ubuntu" in OS_RELEASE.read_text().splitlines() and "universe" not in set().union(*offers.values()):
        yield Problem(
            where="/etc/apt",
            what=f"no source has the component universe of {suite}",
            allowed="main and universe, which some of the hosts' packages are in",
            todo="add-apt-repository universe",
        )


def _suite() -> Iterator[Problem]:
    suite = codename(OS_RELEASE.read_text())
    yield from _sources(suite)
    # Newer systemd first disables, then drops version 1.
    if not cgroup.is_v2() and suite != "bookworm":
        yield Problem(
            where=_HERE,
            what=f"cgroup version 1, on which hosts made from this machine's {suite} do not boot",
            allowed="Debian 12 (bookworm), or cgroup version 2",
            todo="boot the machine with systemd.unified_cgroup_hierarchy=1",
        )


def require_root() -> None:
    """HostsUnfit for a user other than root."""
    if os.geteuid() != 0:
        raise HostsUnfit(
            [
                Problem(
                    where=_HERE,
                    what="a lab is made by root",
                    allowed="",
                    todo="run this with sudo (nothing was changed)",
                )
            ]
        )


def require() -> None:
    """HostsUnfit with everything that is missing."""
    require_root()
    found = [*_programs(), *_namespaces(), *_controllers(), *_netfilter(), *_bridged(), *_suite()]
    # The other checks use these programs.
    if all(map(shutil.which, ("unshare", "ip"))):
        found += [*_filesystems(), *_devices()]
    if found:
        raise HostsUnfit(found)
