"""Every TLS connection of a cluster, from the roles' ports and the certificate table. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from kubewright.model.certificates import ROWS
from kubewright.model.cluster import Node, Plan
from kubewright.plan.role import Client, Port, Role, Tls

LOOPBACK = "127.0.0.1"


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """A port of a host's role at one of its addresses. `authority` is the issuer of its certificate."""

    role: str
    host: str
    address: str
    port: int
    tls: Tls
    authority: str

    @property
    def title(self) -> str:
        return f"{self.role} of {self.host} at {self.address}:{self.port}"


@dataclass(frozen=True, kw_only=True)
class Edge:
    """One client's connection: from host `source`, with the certificate `row` (empty: none), expecting `server_name`."""

    source: str
    row: str
    endpoint: Endpoint
    server_name: str
    path: str


def _stands_on(client: Client, node: Node) -> bool:
    on = client.on or ROWS[client.row].on
    return on(node)


def _reaches(client: Client, source: Node, server: Node, port: Port) -> str:
    """The address at which `source` reaches `port` of `server`; empty when it does not."""
    if client.to == "own":
        return LOOPBACK if source == server and (not port.addresses or LOOPBACK in port.addresses) else ""
    if client.to == "others" and source == server:
        return ""
    return str(server.address)


def _served(plan: Plan, roles: Sequence[Role]) -> Iterator[tuple[Role, Node, Port, Tls]]:
    for role in roles:
        for server in plan.nodes:
            if role.runs_on(server) and server.name not in plan.absent:
                yield from ((role, server, port, port.tls) for port in role.ports(plan, server) if port.tls)


def _endpoint(role: Role, server: Node, port: Port, tls: Tls, address: str) -> Endpoint:
    authority = ROWS[tls.row].authority.name
    return Endpoint(role=role.name, host=server.name, address=address, port=port.number, tls=tls, authority=authority)


def edges(plan: Plan, roles: Sequence[Role]) -> tuple[Edge, ...]:
    """Every connection, in the order of roles, servers and clients. Left-out hosts have none."""
    sources = [node for node in plan.nodes if node.name not in plan.absent]
    return tuple(
        Edge(
            source=source.name,
            row=client.row,
            endpoint=_endpoint(role, server, port, tls, address),
            server_name=client.server_name or address,
            path=client.path or tls.path,
        )
        for role, server, port, tls in _served(plan, roles)
        for client in tls.clients
        for source in sources
        if _stands_on(client, source) and (address := _reaches(client, source, server, port))
    )


def endpoints(plan: Plan, roles: Sequence[Role]) -> dict[Endpoint, tuple[str, ...]]:
    """Each port at each address, and the hosts that connect to it: its own host where no other does."""
    sources: dict[Endpoint, dict[str, None]] = {}
    for edge in edges(plan, roles):
        sources.setdefault(edge.endpoint, {})[edge.source] = None
    reached = {(e.role, e.host, e.port) for e in sources}
    for role, server, port, tls in _served(plan, roles):
        if (role.name, server.name, port.number) not in reached:
            address = port.addresses[0] if port.addresses else str(server.address)
            sources[_endpoint(role, server, port, tls, address)] = {server.name: None}
    return {endpoint: tuple(names) for endpoint, names in sources.items()}
