"""kube-scheduler's flags."""

from __future__ import annotations

from kubewright.model.cluster import SCHEDULER_PORT, Flags, Plan
from roles.common import leader


def flags(_plan: Plan) -> Flags:
    return leader.flags("scheduler", SCHEDULER_PORT)
