"""The checks that follow from data: from each role's units, ports and binaries, and from the certificate table. Pure.

All checks of one kind ask a host the same question, which `verify` sends once, with everything else that it asks then.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from kubewright.model.cluster import Node, Plan
from kubewright.plan.derived import binaries, keys, ports, units
from kubewright.plan.derived.files import question
from kubewright.plan.role import Check, Role

CERTIFICATES = "certificates"
"""Stands for the role of checks that belong to none."""


def derived_checks(plan: Plan, node: Node, roles: Sequence[Role]) -> Iterator[tuple[str, Check]]:
    """By role's name, what must hold on `node` because of the roles that it has."""
    mine = [role for role in roles if role.runs_on(node)]
    programs = units.programs(mine)
    links = [link for role in mine for link in binaries.links(role)]
    files = question(keys.paths(node), links)
    for role in mine:
        yield from ((role.name, units.check(unit, programs)) for unit in role.units if not role.at_times)
        yield from ((role.name, ports.check(port)) for port in role.ports(plan, node))
        yield from ((role.name, binaries.check(role, files)) for _ in role.binaries[:1])
    yield from ((CERTIFICATES, check) for check in keys.checks(node, files))
