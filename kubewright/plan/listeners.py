"""Listeners on a host, compared with the plan. Pure.

Failures: a component that listens on an unplanned port or on more addresses than planned, and another program on a planned
port. The host's other services (sshd, chronyd, rpcbind) are listed, and not judged.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address

from kubewright.model.cluster import Node, Plan
from kubewright.observe.observed import EVERY, Observed
from kubewright.plan.role import Port, Role

COMM = 15
"""The kernel truncates a process's name to this length (TASK_COMM_LEN, proc(5))."""
OPENS_NODE_PORTS = "kube-proxy"
"""It listens on a Service's healthCheckNodePort, which users choose within the plan's range."""


@dataclass(frozen=True, kw_only=True)
class Listener:
    """One listening port. `message` says why it is a failure; empty when it is none. `planned`: a role's port."""

    host: str
    protocol: str
    port: int
    process: str
    addresses: tuple[str, ...]
    planned: bool
    message: str = ""


def listeners(plan: Plan, roles: Sequence[Role], node: Node, host: Observed) -> tuple[Listener, ...]:
    """Every listener of `host`, and the missing planned ones, by port."""
    ports: dict[tuple[str, int], Port] = {
        (p.protocol, p.number): p for role in roles if role.runs_on(node) for p in role.ports(plan, node)
    }
    keys = sorted({*host.listening, *ports}, key=lambda key: (key[1], key[0]))
    return tuple(_listener(plan, roles, node, host, key, ports.get(key)) for key in keys)


def _listener(plan: Plan, roles: Sequence[Role], node: Node, host: Observed, key: tuple[str, int], port: Port | None) -> Listener:
    process, addresses = host.listening.get(key), host.bound.get(key, frozenset())
    found = against(port, process, addresses) if port else _unplanned(plan, roles, key, process or "", addresses)
    return Listener(
        host=node.name,
        protocol=key[0],
        port=key[1],
        process=process or "",
        addresses=tuple(sorted(addresses)),
        planned=port is not None,
        message="; ".join(found),
    )


def against(port: Port, process: str | None, addresses: frozenset[str]) -> Iterator[str]:
    """What is wrong with a planned port. `process`: empty where the kernel listens, None where nothing does."""
    if process is None:
        yield f"nothing listens, planned: {port.process or 'the kernel'}"
        return
    if process != port.process[:COMM]:
        yield f"{process or 'the kernel'} listens, planned: {port.process or 'the kernel'}"
    planned = port.addresses or (EVERY,)
    if addresses != set(planned):
        yield f"bound to {named(addresses)}, planned: {named(planned)}"


def named(addresses: Iterable[str]) -> str:
    """Bound addresses for a person, sorted so that two lists can be compared."""
    return ", ".join(sorted("all addresses" if address == EVERY else address for address in addresses))


def _unplanned(plan: Plan, roles: Sequence[Role], key: tuple[str, int], process: str, addresses: frozenset[str]) -> Iterator[str]:
    ours = {name[:COMM] for role in roles for name in role.binaries}
    ours |= {p.process[:COMM] for role in roles for node in plan.nodes for p in role.ports(plan, node) if p.process}
    first, _, last = plan.node_ports.partition("-")
    if process not in ours or (process == OPENS_NODE_PORTS and int(first) <= key[1] <= int(last or first)):
        return
    reach = "on loopback" if all(map(_is_loopback, addresses)) else "for others to reach"
    yield f"{process} listens {reach}, and no role has this port"


def _is_loopback(address: str) -> bool:
    try:
        return IPv4Address(address).is_loopback
    except AddressValueError:
        return address == "::1"
