"""Traffic to the apiserver's port is dropped while the apiserver closes its listener: docs/decisions/0010."""

from __future__ import annotations

import re

from kubewright.plan.context import Context
from kubewright.plan.desired import File

PATH = "/etc/kubernetes/apiserver/hold-port.sh"
TABLE = "kube-apiserver-hold"
LEAD = 0.1
"""Seconds before the end of the delay. The apiserver counts requests that have arrived by then, and waits for them."""
_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "\u00b5s": 1e-6, "\u03bcs": 1e-6, "ns": 1e-9}
_PART = re.compile(rf"(\d+\.?\d*|\.\d+)({'|'.join(sorted(_UNITS, key=len, reverse=True))})")


def seconds(duration: str) -> float:
    """Go's notation of a duration (`1m10s`), 0 when it is none or negative [pkg.go.dev/time#ParseDuration]."""
    if not re.fullmatch(rf"\+?(?:{_PART.pattern})+", duration):
        return 0.0
    return sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(duration))


def files(context: Context, delay: str) -> tuple[File, ...]:
    """`delay`: --shutdown-delay-duration. Empty where clients have no other apiserver, or the delay is too short."""
    wait = seconds(delay) - LEAD
    if wait <= 0 or len(context.plan.serving_masters) < 2:
        return ()
    port, template = context.plan.api_port, "apiserver/hold-port.sh.j2"
    held = context.config(PATH, template, restarts=(), wait=f"{wait:g}", delay=delay, port=port, table=TABLE, but="")
    return (held,)
