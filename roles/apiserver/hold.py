"""The port is not heard while kube-apiserver goes from serving to refusing: docs/decisions/0010."""

from __future__ import annotations

import re

from kubewright.plan.context import Context
from kubewright.plan.desired import File

PATH = "/etc/kubernetes/apiserver/hold-port.sh"
LEAD = 0.2
"""Seconds: how long what has arrived by then may take to be counted among the requests that are waited for."""
_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_PART = re.compile(r"(\d+(?:\.\d+)?)(h|ms|m|s)")


def seconds(duration: str) -> float:
    """Go's notation of a duration (`1m10s`), 0 when it is none [pkg.go.dev/time#ParseDuration]."""
    if not re.fullmatch(f"(?:{_PART.pattern})+", duration):
        return 0.0
    return sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(duration))


def files(context: Context, delay: float, port: int) -> tuple[File, ...]:
    """`delay`: --shutdown-delay-duration, in seconds. None where it leaves no time for clients to go elsewhere."""
    wait = delay - LEAD
    if wait <= 0:
        return ()
    return (context.config(PATH, "apiserver/hold-port.sh.j2", restarts=(), wait=f"{wait:g}", port=port),)
