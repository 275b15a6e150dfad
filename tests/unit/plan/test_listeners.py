"""A listening port is planned, or the host's own, or a finding."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import pytest

from deploy.waves import ROLES
from kubewright.observe.observed import Observed
from kubewright.observe.text import bound, listening
from kubewright.plan.listeners import Listener, listeners
from tests.support.scenarios import scenario

PLAN = scenario("lab").plan
Sockets = dict[tuple[str, int], tuple[str, tuple[str, ...]]]


def _as_planned(name: str) -> Sockets:
    node = PLAN.node(name)
    ports = [p for role in ROLES if role.runs_on(node) for p in role.ports(PLAN, node)]
    return {(p.protocol, p.number): (p.process[:15], p.addresses or ("*",)) for p in ports}


def _observed(name: str, sockets: Sockets) -> Observed:
    return dataclasses.replace(
        scenario("lab").observed(name),
        listening={key: process for key, (process, _) in sockets.items()},
        bound={key: frozenset(addresses) for key, (_, addresses) in sockets.items()},
    )


def _found(name: str, changed: Mapping[tuple[str, int], tuple[str, tuple[str, ...]] | None]) -> list[Listener]:
    sockets = {**_as_planned(name), **changed}
    return list(listeners(PLAN, ROLES, PLAN.node(name), _observed(name, {k: v for k, v in sockets.items() if v})))


def _messages(name: str, changed: Mapping[tuple[str, int], tuple[str, tuple[str, ...]] | None]) -> list[str]:
    return [f"{found.port}: {found.message}" for found in _found(name, changed) if found.message]


@pytest.mark.parametrize("name", ["m1", "w1"])
def test_a_host_that_listens_as_planned_has_no_findings(name: str) -> None:
    assert _messages(name, {}) == []
    assert all(found.planned for found in _found(name, {}))


def test_the_hosts_own_services_are_listed_and_not_judged() -> None:
    changed = {("tcp", 22): ("sshd", ("*",)), ("udp", 323): ("chronyd", ("127.0.0.1",)), ("tcp", 111): ("rpcbind", ("*",))}
    found = [f for f in _found("w1", changed) if not f.planned]
    assert [(f.port, f.process, f.message) for f in found] == [(22, "sshd", ""), (111, "rpcbind", ""), (323, "chronyd", "")]


@pytest.mark.parametrize(
    ("host", "changed", "message"),
    [
        ("m1", {("tcp", 10257): ("kube-controller", ("*",))}, "10257: bound to all addresses, planned: 127.0.0.1"),
        ("m1", {("tcp", 2380): ("etcd", ("*",))}, "2380: bound to all addresses, planned: 10.90.0.11"),
        (
            "m1",
            {("tcp", 2379): ("etcd", ("10.0.2.15", "127.0.0.1"))},
            "2379: bound to 10.0.2.15, 127.0.0.1, planned: 10.90.0.11, 127.0.0.1",
        ),
        ("w1", {("tcp", 6443): ("haproxy", ("10.90.0.21",))}, "6443: bound to 10.90.0.21, planned: 127.0.0.1"),
        ("m1", {("tcp", 6443): ("kube-apiserver", ("127.0.0.1",))}, "6443: bound to 127.0.0.1, planned: all addresses"),
        ("m1", {("tcp", 2379): ("etcd", ("127.0.0.1",))}, "2379: bound to 127.0.0.1, planned: 10.90.0.11, 127.0.0.1"),
        ("w1", {("tcp", 10250): ("nginx", ("*",))}, "10250: nginx listens, planned: kubelet"),
        ("w1", {("tcp", 10250): None}, "10250: nothing listens, planned: kubelet"),
        ("w1", {("udp", 8472): None}, "8472: nothing listens, planned: the kernel"),
        ("w1", {("tcp", 10255): ("kubelet", ("*",))}, "10255: kubelet listens for others to reach, and no role has this port"),
        ("m1", {("tcp", 2381): ("etcd", ("127.0.0.1",))}, "2381: etcd listens on loopback, and no role has this port"),
        (
            "m1",
            {("tcp", 2381): ("etcd", ("::1", "10.90.0.11"))},
            "2381: etcd listens for others to reach, and no role has this port",
        ),
        ("w1", {("tcp", 2379): ("etcd", ("*",))}, "2379: etcd listens for others to reach, and no role has this port"),
        (
            "w1",
            {("tcp", 34567): ("containerd", ("127.0.0.1",))},
            "34567: containerd listens on loopback, and no role has this port",
        ),
        (
            "w1",
            {("tcp", 29999): ("kube-proxy", ("*",))},
            "29999: kube-proxy listens for others to reach, and no role has this port",
        ),
    ],
)
def test_unplanned_listeners_are_found(host: str, changed: Sockets, message: str) -> None:
    assert _messages(host, changed) == [message]


def test_a_services_health_check_port_is_its_owners() -> None:
    assert _messages("w1", {("tcp", 30123): ("kube-proxy", ("*",))}) == []


def test_addresses_are_read_from_the_output_of_ss() -> None:
    lines = [
        'tcp LISTEN 0 4096 127.0.0.1:2379 0.0.0.0:* users:(("etcd",pid=1,fd=7))',
        'tcp LISTEN 0 4096 10.90.0.11:2379 0.0.0.0:* users:(("etcd",pid=1,fd=8))',
        'tcp LISTEN 0 4096 *:10250 *:* users:(("kubelet",pid=2,fd=7))',
        'tcp LISTEN 0 128 [::]:22 [::]:* users:(("sshd",pid=3,fd=4))',
        'tcp LISTEN 0 128 0.0.0.0:22 0.0.0.0:* users:(("sshd",pid=3,fd=3))',
        'udp UNCONN 0 0 127.0.0.53%lo:53 0.0.0.0:* users:(("systemd-resolve",pid=4,fd=1))',
        'tcp LISTEN 0 4096 [::1]:631 [::]:* users:(("cupsd",pid=5,fd=7))',
        "udp UNCONN 0 0 0.0.0.0:8472 0.0.0.0:*",
    ]
    assert bound(lines) == {
        ("tcp", 2379): {"127.0.0.1", "10.90.0.11"},
        ("tcp", 10250): {"*"},
        ("tcp", 22): {"*"},
        ("udp", 53): {"127.0.0.53"},
        ("tcp", 631): {"::1"},
        ("udp", 8472): {"*"},
    }
    assert set(listening(lines)) == set(bound(lines))
