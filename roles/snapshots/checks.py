"""The check of the snapshots on a host: the last one was taken."""

from __future__ import annotations

from typing import Any

from kubewright.model.cluster import Node, Plan
from kubewright.plan.role import Check

_SERVICE = "kubewright-snapshot.service"


def _taken(host: Any, _plan: Plan, _node: Node) -> None:
    answer = host.run(f"systemctl show -p Result --value {_SERVICE}")
    assert answer.rc == 0 and answer.stdout.strip() in ("success", ""), (
        f"the last snapshot failed ({answer.stdout.strip() or answer.stderr.strip()}); "
        f"the reason is in its log on this host: journalctl -u {_SERVICE} -n 20"
    )


CHECKS = (Check(title="the last snapshot was taken", run=_taken),)
