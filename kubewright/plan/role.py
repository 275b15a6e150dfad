"""The interface of a role: data and a few pure functions. A role is a folder under roles/; roles import no other role."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from kubewright.model.cluster import Node, Plan
from kubewright.plan.context import Context
from kubewright.plan.desired import Desired

Who = Literal["masters", "etcd", "kubelets", "everyone", "outside"]
"""The group of hosts that connects to a port; the firewall admits no other. `outside`: the firewall admits all addresses,
and no host of the cluster needs the port."""


@dataclass(frozen=True, kw_only=True)
class Client:
    """A client of a TLS port: it holds the certificate `row`, and connects from the hosts that have that row."""

    row: str = ""
    """Empty: it has no certificate and makes only anonymous requests; it runs on the hosts of `on`."""
    on: Callable[[Node], bool] | None = None
    to: Literal["each", "others", "own"] = "each"
    """The port of each host, at the host's address; of each other host; or of its own host, at 127.0.0.1."""
    server_name: str = ""
    """The name that it expects in the server's certificate; empty: the address that it connects to."""
    path: str = ""
    """The path that it may read; empty: the port's own `path`."""


@dataclass(frozen=True, kw_only=True)
class Tls:
    """How both ends of a port's connections authenticate. Rows and authorities are those of model/certificates.py."""

    row: str
    """The server's certificate."""
    authority: str
    """The authority whose client certificates it accepts."""
    handshake: Literal["", "authority", "name"] = ""
    """What the handshake checks of a client's certificate. The rest is checked later, and refused with 401 or 403."""
    path: str
    """A path that every client may read."""
    guarded: tuple[str, ...]
    """Paths that no other client may read."""
    clients: tuple[Client, ...]
    """The most powerful first: wrong certificates use its name."""


@dataclass(frozen=True, kw_only=True)
class Port:
    """A listening port of a role."""

    number: int
    protocol: Literal["tcp", "udp"] = "tcp"
    process: str
    addresses: tuple[str, ...] = ()
    """Bound addresses; none: all addresses of the host."""
    clients: Who | None = None
    """None: only the host itself."""
    tls: Tls | None = None


@dataclass(frozen=True, kw_only=True)
class Fixture:
    """Shared preparation for checks on several hosts. Each `verify` makes it once before the checks and removes it afterwards.

    `make` and `remove` get testinfra's hosts by name (those of `on` that answer), the plan, and a name that is unique to the
    run.
    """

    title: str
    on: Callable[[Node], bool]
    make: Callable[[Mapping[str, Any], Plan, str], Any]
    """The checks get its result. AssertionError: why it could not be made."""
    remove: Callable[[Mapping[str, Any], Plan, str], None] = lambda _hosts, _plan, _name: None
    """Called even when `make` failed. AssertionError: names the leftovers and their places."""


@dataclass(frozen=True, kw_only=True)
class Check:
    """One condition on a host. AssertionError when it does not hold; the message says why and what to do next.

    `run` gets testinfra's host, the plan, the node, and the result of the fixture's `make` if the check needs a fixture.
    """

    title: str
    run: Callable[..., None]
    on: Callable[[Node], bool] | None = None
    """The hosts that it runs on; None: those of its role."""
    needs: Fixture | None = None


@dataclass(frozen=True, kw_only=True)
class Folder:
    """A folder that a role has on its hosts. `reset` empties it, unless it is `shared`."""

    path: str
    holds: Literal["files", "data"] = "files"
    """`files`: what the role writes, so every file is observed. `data`: what programs write, so only the folder is."""
    shared: bool = False
    """Others may have files there: `reset` removes what kubewright put there, and the folder only when it is empty."""


@dataclass(frozen=True, kw_only=True)
class Role:
    """One component of the cluster."""

    name: str
    runs_on: Callable[[Node], bool]
    after: tuple[str, ...] = ()
    """Roles that must finish on every host before this one starts on any."""
    one_at_a_time: bool = False
    """Its units restart on one host after the other, however many hosts there are: a quorum or an API depends on them."""
    pods_need: bool = False
    """Pods on a host need its units: before one stops, the other nodes must be as healthy as before."""
    binaries: tuple[str, ...] = ()
    images: tuple[str, ...] = ()
    """Images that its pods use: every host that runs pods has them before an object in the cluster names them."""
    units: tuple[str, ...] = ()
    at_times: bool = False
    """Its units are on hosts only while a change is under way."""
    folders: tuple[Folder, ...] = ()
    paths: tuple[str, ...] = ()
    """Its files outside `folders`, units apart."""
    desired: Callable[[Context], Desired]
    ports: Callable[[Plan, Node], tuple[Port, ...]] = lambda _plan, _node: ()
    checks: tuple[Check, ...] = ()
    learns: bool = False
    """It records the work of earlier roles: hosts are observed again before it acts."""


def on_every_host(_node: Node) -> bool:
    return True


def on_masters(node: Node) -> bool:
    return node.is_master


def on_etcd(node: Node) -> bool:
    return node.is_etcd


def on_kubelets(node: Node) -> bool:
    return node.runs_pods


def on_non_masters(node: Node) -> bool:
    return node.runs_pods and not node.is_master
