"""The peers' ports that a host must reach. The host tries them before anything is installed. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kubewright.model.cluster import Node, Plan
from kubewright.plan.role import Role, Who


@dataclass(frozen=True, kw_only=True)
class PeerPort:
    """A TCP port that other hosts connect to. `process`: the program that will listen there."""

    node: str
    address: str
    port: int
    process: str


SECONDS = 3
"""The seconds that a host waits for a peer's answer."""

# The address and port are `$0`, as bash's /dev/tcp has them. A refusal counts as reached: nothing listens there yet.
_PROBE = f"""said=$(timeout {SECONDS} bash -c ": > /dev/tcp/$0" 2>&1)
case $?$said in 0*|*refused*) ;; 124*) echo "$0 no answer in {SECONDS} s" ;; *) echo "$0 ${{said##*: }}" ;; esac"""

PeerPorts = Mapping[Who, tuple[PeerPort, ...]]
"""By the group that connects."""


def peer_ports(plan: Plan, roles: Sequence[Role]) -> PeerPorts:
    """Every such port of every host of this run. Without UDP, where silence proves nothing."""
    found: dict[Who, list[PeerPort]] = {}
    for node in (n for n in plan.nodes if n.name not in plan.absent):
        for port in (p for role in roles if role.runs_on(node) for p in role.ports(plan, node)):
            if port.clients and port.protocol == "tcp":
                one = PeerPort(node=node.name, address=str(node.address), port=port.number, process=port.process)
                found.setdefault(port.clients, []).append(one)
    return {who: tuple(of) for who, of in found.items()}


def asked(plan: Plan, every: PeerPorts, node: Node) -> tuple[PeerPort, ...]:
    """The ports of which `node` is a client. A worker connects only to masters and etcd members, so its list does not grow."""
    is_one: dict[Who, bool] = {"masters": node.is_master, "etcd": node.is_etcd, "kubelets": node.runs_pods, "everyone": True}
    mine = (port for who, of in every.items() if is_one.get(who) for port in of if port.node != node.name)
    # A host with only etcd never connects to the API.
    return tuple(port for port in mine if node.runs_pods or port.port != plan.api_port)


def probes(wanted: Sequence[PeerPort]) -> str:
    """Shell that tries all of them in parallel, and prints `ADDRESS/PORT WHY` for each failure."""
    names = " ".join(f"{port.address}/{port.port}" for port in wanted)
    return f"printf '%s\\n' {names} | xargs -P 64 -n 1 sh -c '{_PROBE}'" if names else ":"
