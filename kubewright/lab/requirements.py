"""What a machine needs for a lab: everything that is missing, in one message."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from kubewright.errors import HostsUnfit, Problem
from kubewright.lab import cgroup

PROGRAMS = {
    "ip": "iproute2",
    "nsenter": "util-linux",
    "unshare": "util-linux",
    "mmdebstrap": "mmdebstrap",
    "ssh": "openssh-client",
    "ssh-keygen": "openssh-client",
}
"""Program and Debian's package of it."""

_HERE = "this machine"


def _programs() -> Iterator[Problem]:
    missing = {program: package for program, package in PROGRAMS.items() if shutil.which(program) is None}
    if missing:
        packages = " ".join(sorted(set(missing.values())))
        yield Problem(
            where=_HERE, what=f"missing programs ({', '.join(missing)})", allowed="", todo=f"apt-get install {packages}"
        )


def _filesystems() -> Iterator[Problem]:
    if not any(line.split()[-1] == "overlay" for line in Path("/proc/filesystems").read_text().splitlines()):
        yield Problem(
            where=_HERE,
            what="the kernel has no overlay file system",
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
    # In a namespace of its own, so that the machine's own network is not touched.
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


def require() -> None:
    """HostsUnfit with all that is missing."""
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
    found = [*_programs(), *_filesystems(), *_namespaces(), *_controllers()]
    if not any("missing programs" in p.what for p in found):
        found += _devices()
    if found:
        raise HostsUnfit(found)
