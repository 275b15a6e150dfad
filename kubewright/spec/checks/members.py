"""The number of hosts with each role, and the settings that a host's roles allow."""

from __future__ import annotations

from collections.abc import Iterator

from kubewright.spec.model import ClusterSpec
from kubewright.spec.wording import Finding


def masters_odd(spec: ClusterSpec) -> Iterator[Finding]:
    count = len(spec.masters)
    if count in (1, 3, 5):
        return
    if count == 0:
        what, todo = "no master", "give one, three or five hosts the role master"
    elif count == 2:
        # A long message, because this is the most common mistake.
        what = "two masters: two are no safer than one, because no majority is left when either is lost"
        todo = "add a third master, or make one of them a worker"
    else:
        what = f"{count} masters: {_why_not(count)}"
        todo = "take 3 of them, or add one" if count == 4 else "take 5 of them"
    yield Finding(at=("hosts",), what=what, allowed="1, 3 or 5 masters", todo=todo)


def etcd_odd(spec: ClusterSpec) -> Iterator[Finding]:
    count = sum("etcd" in host.roles for host in spec.hosts)
    if count not in (0, 1, 3, 5, 7):  # none: the masters run etcd, and are counted as masters
        yield Finding(
            at=("hosts",),
            what=f"{count} etcd members: {_why_not(count)}",
            allowed="1, 3, 5 or 7 etcd members",
            todo=f"take {count - 1} of them, or add one" if count < 7 else "take 7 of them",
        )


def _why_not(count: int) -> str:
    if count % 2:
        return "more make writes slower, not safer"
    return f"{count} survive the loss of no more than {count - 1} do"


def node_settings_on_nodes(spec: ClusterSpec) -> Iterator[Finding]:
    """Labels, taints and reservations are kubelet's, which runs on masters and workers only."""
    for index, host in enumerate(spec.hosts):
        if {"master", "worker"} & set(host.roles):
            continue
        for name in ("labels", "taints", "system_reserved", "kube_reserved"):
            if getattr(host, name):
                yield Finding(
                    at=("hosts", index, name),
                    what=f"set on a host that is no node ({host.name} is etcd only)",
                    allowed="on masters and workers",
                    todo="remove it, or give the host the role worker",
                )


def taints_unique(spec: ClusterSpec) -> Iterator[Finding]:
    """Kubernetes refuses a node with two taints of one key and effect."""
    for index, host in enumerate(spec.hosts):
        seen: set[tuple[str, str]] = set()
        for number, taint in enumerate(host.taints or ()):
            key, effect = taint.split(":")[0].split("=")[0], taint.split(":")[1]
            if (key, effect) in seen:
                yield Finding(
                    at=("hosts", index, "taints", number),
                    what=f"a taint twice ({taint})",
                    allowed="each key and effect once",
                    todo="remove one of them",
                )
            seen.add((key, effect))


_UNITS = {"cpu": ("", "m"), "pid": ("",)}
"""Units of resources that are not counted in bytes."""


def reservations_sensible(spec: ClusterSpec) -> Iterator[Finding]:
    for index, host in enumerate(spec.hosts):
        for name, reserved in (("system_reserved", host.system_reserved), ("kube_reserved", host.kube_reserved)):
            for resource, quantity in reserved.items():
                unit = quantity.lstrip("0123456789.")
                if resource in _UNITS and unit not in _UNITS[resource]:
                    allowed = "cores like 2 or thousandths like 500m" if resource == "cpu" else "a plain number"
                    todo = "remove the unit"
                elif resource not in _UNITS and unit == "m":
                    allowed, todo = (
                        "bytes, with Ki, Mi or Gi",
                        f"m is a thousandth of a byte: write {quantity[:-1]}Mi",
                    )
                else:
                    continue
                yield Finding(
                    at=("hosts", index, name, resource),
                    what=f"not a unit of {resource} ({quantity})",
                    allowed=allowed,
                    todo=todo,
                )
