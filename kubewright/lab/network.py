"""The lab's network: a bridge in a namespace of its own, and a namespace a host. Nothing is routed or translated out of it."""

from __future__ import annotations

import subprocess
from pathlib import Path

from kubewright.errors import Failed
from kubewright.lab.model import BRIDGE_ADDRESS, PREFIX_LENGTH, Lab, LabHost

NAMESPACES = Path("/run/netns")
# The same address on every host, as Vagrant's hosts have: whoever follows the default route finds the wrong one.
_NAT_ADDRESS, _NAT_GATEWAY = "10.0.2.15/24", "10.0.2.2"


def _batch(namespace: str, lines: list[str]) -> None:
    done = subprocess.run(
        ["ip", "-n", namespace, "-batch", "-"], input="\n".join(lines), text=True, capture_output=True, check=False
    )
    if done.returncode != 0:
        raise Failed(f"network namespace {namespace}: {done.stderr.strip()}")


def _add(namespace: str) -> None:
    done = subprocess.run(["ip", "netns", "add", namespace], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Failed(f"network namespace {namespace}: {done.stderr.strip()}")


def make(lab: Lab) -> None:
    """The bridge's namespace, then each host's."""
    _add(lab.namespace)
    lines = [
        "link set lo up",
        "link add br0 type bridge",
        f"addr add {BRIDGE_ADDRESS}/{PREFIX_LENGTH} dev br0",
        "link set br0 up",
    ]
    _batch(lab.namespace, lines)
    for host in lab.hosts:
        _make_host(lab, host)


def _make_host(lab: Lab, host: LabHost) -> None:
    tag = lab.tag(host.name)
    _add(tag)
    _batch(
        lab.namespace,
        [
            f"link add {host.name} type veth peer name eth1 netns {tag}",
            f"link set {host.name} master br0 up",
            f"link add nat-{host.name} type veth peer name eth0 netns {tag}",
            f"link set nat-{host.name} up",
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


def reset(lab: Lab, host: LabHost) -> None:
    """A host's namespace as it was new: what ran there left devices and rules behind, which a power cut takes."""
    subprocess.run(["ip", "netns", "del", lab.tag(host.name)], capture_output=True, check=False)
    for name in (host.name, f"nat-{host.name}"):
        subprocess.run(["ip", "-n", lab.namespace, "link", "del", name], capture_output=True, check=False)
    _make_host(lab, host)


def remove(name: str) -> None:
    """Every namespace of the lab of that name, with the devices in it."""
    if not NAMESPACES.exists():
        return
    for path in sorted(NAMESPACES.iterdir()):
        if path.name == f"kw.{name}" or path.name.startswith(f"kw.{name}."):
            subprocess.run(["ip", "netns", "del", path.name], capture_output=True, check=False)
