"""What a role is, as data and a few pure functions. A role is a folder under roles/; roles import no other role."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from kubewright.plan.context import Context
from kubewright.plan.desired import Desired
from kubewright.plan.model import Node, Plan

Who = Literal["masters", "etcd", "kubelets", "everyone", "outside"]
"""Who connects to a port: the firewall lets in these and no other. `outside`: it lets in anybody, and no host of the
cluster needs it."""


@dataclass(frozen=True, kw_only=True)
class Port:
    """A listening port of a role. `address`: what it is bound to, `*` for all of the host's."""

    number: int
    protocol: Literal["tcp", "udp"] = "tcp"
    process: str
    address: str = "*"
    clients: Who | None = None
    """None: only the host itself."""


@dataclass(frozen=True, kw_only=True)
class Check:
    """One thing that must hold on a host. `run` gets testinfra's host, the plan and the node; AssertionError: it does not."""

    title: str
    run: Callable[[Any, Plan, Node], None]


@dataclass(frozen=True, kw_only=True)
class Role:
    """One component of the cluster."""

    name: str
    runs_on: Callable[[Node], bool]
    after: tuple[str, ...] = ()
    """Roles that are finished on every host before this one begins on any."""
    binaries: tuple[str, ...] = ()
    units: tuple[str, ...] = ()
    desired: Callable[[Context], Desired]
    ports: Callable[[Plan, Node], tuple[Port, ...]] = lambda _plan, _node: ()
    checks: tuple[Check, ...] = ()


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
