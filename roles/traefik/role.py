"""The hosts' part of the add-on traefik: the ports of its pods, which are on the hosts' own network."""

from __future__ import annotations

from typing import Any

from kubewright.model.cluster import Node, Plan
from kubewright.plan.context import Context
from kubewright.plan.desired import Desired
from kubewright.plan.role import Check, Port, Role
from kubewright.releases.addons import TRAEFIK_PING_PORT

NAME = "traefik"


def _runs_on(node: Node) -> bool:
    return NAME in node.addons


def desired(_context: Context) -> Desired:
    return Desired()


def ports(_plan: Plan, _node: Node) -> tuple[Port, ...]:
    return (
        Port(number=80, process=NAME, clients="outside"),
        Port(number=443, process=NAME, clients="outside"),
        Port(number=TRAEFIK_PING_PORT, process=NAME, addresses=("127.0.0.1",)),
    )


def _answers(host: Any, _plan: Plan, node: Node) -> None:
    answer = host.run(f"curl -q -sS --noproxy '*' -m 4 -o /dev/null http://{node.address}/")
    see = "kubewright kubectl -i INVENTORY -- -n kube-system describe daemonset traefik"
    assert answer.rc == 0, f"Traefik does not answer on port 80 ({answer.stderr.strip()}); see why: {see}"


ROLE = Role(
    name=NAME,
    runs_on=_runs_on,
    after=("coredns",),
    desired=desired,
    ports=ports,
    checks=(Check(title="answers HTTP requests", run=_answers),),
)
