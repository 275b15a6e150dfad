"""The lab's network: a bridge in a namespace of its own, and a namespace a host. Nothing is routed or translated out of it."""

from __future__ import annotations

import contextlib
import subprocess
from pathlib import Path

from kubewright.errors import Failed
from kubewright.lab.model import BRIDGE_ADDRESS, HOME, PREFIX_LENGTH, Lab, LabHost

NAMESPACES = Path("/run/netns")
RECORD = HOME / "netns-mounted"
"""There when a lab made the folder of namespaces a mount; it says `made` when there was no such folder."""
# The same address on every host, as Vagrant's hosts have: a program that follows the default route finds the wrong one.
_NAT_ADDRESS, _NAT_GATEWAY = "10.0.2.15/24", "10.0.2.2"


def _ip(*arguments: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    # The child inherits the lock (see `lifecycle`): after a killed `up`, `down` waits for its children.
    return subprocess.run(["ip", *arguments], input=stdin, text=True, capture_output=True, check=False, close_fds=False)


def _batch(namespace: str, lines: list[str]) -> None:
    done = _ip("-n", namespace, "-batch", "-", stdin="\n".join(lines))
    if done.returncode != 0:
        raise Failed(f"network namespace {namespace}: {done.stderr.strip()}")


def _add(namespace: str) -> None:
    done = _ip("netns", "add", namespace)
    if done.returncode != 0:
        raise Failed(f"network namespace {namespace}: {done.stderr.strip()}")


def make(lab: Lab) -> None:
    """Make the bridge's namespace, without hosts, if it does not exist."""
    if (NAMESPACES / lab.namespace).exists():
        return
    _add(lab.namespace)
    lines = [
        "link set lo up",
        "link add br0 type bridge",
        f"addr add {BRIDGE_ADDRESS}/{PREFIX_LENGTH} dev br0",
        "link set br0 up",
    ]
    _batch(lab.namespace, lines)
    _route_nothing(lab.namespace)


def _route_nothing(namespace: str) -> None:
    # A new namespace copies this setting from the machine, which may be a router.
    script = "echo 0 > /proc/sys/net/ipv4/ip_forward"
    done = subprocess.run(
        ["nsenter", f"--net={NAMESPACES / namespace}", "sh", "-c", script], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise Failed(f"network namespace {namespace}: {done.stderr.strip()}")


def plug(lab: Lab, host: LabHost) -> None:
    """Make a host's namespace again: earlier processes left devices and rules there, which a power cut removes."""
    unplug(lab, host)
    tag = lab.tag(host.name)
    _add(tag)
    _route_nothing(tag)
    _batch(
        lab.namespace,
        [
            # With a dot, which no host's name has: it can't be the bridge's name or another device's.
            f"link add lan.{host.name} type veth peer name eth1 netns {tag}",
            f"link set lan.{host.name} master br0 up",
            f"link add nat.{host.name} type veth peer name eth0 netns {tag}",
            f"link set nat.{host.name} up",
        ],
    )
    _batch(
        tag,
        [
            "link set lo up",
            f"addr add {_NAT_ADDRESS} dev eth0",
            "link set eth0 up",
            f"addr add {host.address}/{PREFIX_LENGTH} brd + dev eth1",
            "link set eth1 up",
            f"route add default via {_NAT_GATEWAY} dev eth0",
        ],
    )


def unplug(lab: Lab, host: LabHost) -> None:
    """Remove a host's namespace and cables. Its address no longer answers."""
    _ip("netns", "del", lab.tag(host.name))
    for name in (f"lan.{host.name}", f"nat.{host.name}"):
        _ip("-n", lab.namespace, "link", "del", name)


def remove(name: str) -> None:
    """Every namespace of the lab of that name, with the devices in it."""
    if not NAMESPACES.exists():
        return
    for path in sorted(NAMESPACES.iterdir()):
        if path.name == f"kw.{name}" or path.name.startswith(f"kw.{name}."):
            _ip("netns", "del", path.name)


def _mounted() -> bool:
    # A mount of itself: `Path.is_mount` does not see those.
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return any(line.split()[4] == str(NAMESPACES) for line in lines)


def record() -> None:
    """Before the first `ip netns add`, which makes the folder of namespaces and mounts it: record whether the folder
    existed."""
    if not _mounted() and not RECORD.exists():
        RECORD.write_text("" if NAMESPACES.exists() else "made")


def unmount() -> None:
    """Undo that change to the folder of namespaces, unless it holds another program's namespaces."""
    if not RECORD.exists():
        return
    if _mounted() and not any(NAMESPACES.iterdir()):
        subprocess.run(["umount", str(NAMESPACES)], check=False)
    if RECORD.read_text() == "made":
        with contextlib.suppress(OSError):  # another program's namespaces are in it
            NAMESPACES.rmdir()
    RECORD.unlink()
