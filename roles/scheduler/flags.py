"""kube-scheduler's flags."""

from __future__ import annotations

from kubewright.plan import leader
from kubewright.plan.model import SCHEDULER_PORT, Flags, Plan


def flags(_plan: Plan) -> Flags:
    return leader.flags("scheduler", SCHEDULER_PORT)
