"""Checks of roles against recorded answers of a host."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from kubewright.model.cluster import Node, Plan
from kubewright.plan.role import Check
from tests.support.scenarios import scenario

PLAN = scenario("lab").plan
API, DNS = str(PLAN.api_service_address), str(PLAN.dns_address)
MASTERS = [str(m.address) for m in PLAN.masters]


@dataclass(frozen=True, kw_only=True)
class Said:
    stdout: str = ""
    stderr: str = ""
    rc: int = 0


@dataclass(kw_only=True)
class Recorded:
    """A host that answers each command as `tell` says, and remembers it."""

    tell: Callable[[str], Said]
    asked: list[str] = field(default_factory=list)

    def run(self, command: str) -> Said:
        self.asked.append(command)
        return self.tell(command)


def saying(stdout: str = "", stderr: str = "", rc: int = 0) -> Recorded:
    """A host that gives this answer to every command."""
    return Recorded(tell=lambda _command: Said(stdout=stdout, stderr=stderr, rc=rc))


def why_not(checks: tuple[Check, ...], title: str, host: Recorded, *needed: Any, node: str = "m1", plan: Plan = PLAN) -> str:
    """Why the check does not hold; empty when it does."""
    (check,) = (c for c in checks if title in c.title)
    found: Node = plan.node(node)
    try:
        check.run(host, plan, found, *needed)
    except AssertionError as error:
        return str(error)
    return ""
