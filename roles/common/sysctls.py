"""The sysctls that pods need: the file, and the comparison with the kernel's values."""

from __future__ import annotations

from collections.abc import Mapping

from kubewright.observe.observed import SYSCTLS
from kubewright.plan.context import render
from kubewright.plan.desired import File

PATH = "/etc/sysctl.d/99-kubernetes.conf"


def differing(running: Mapping[str, str]) -> dict[str, str]:
    """By name, the kernel's different values. Without settings that the kernel lacks (a module that is not loaded yet)."""
    return {name: running[name] for name, wanted in SYSCTLS.items() if running.get(name, wanted) != wanted}


def file(running: Mapping[str, str]) -> File:
    """Applied again when the kernel has other values; at each boot, kubelet's unit applies it."""
    wrong = [f"{name} is {value}, not {SYSCTLS[name]}" for name, value in sorted(differing(running).items())]
    because = f": {', '.join(wrong)}" if wrong else ""
    return File(
        path=PATH,
        content=render("base/99-kubernetes.conf.j2"),
        apply='sysctl -q -p "$new"',
        title=f"set the sysctls that pods need ({PATH}){because}",
        stale=bool(wrong),
    )
