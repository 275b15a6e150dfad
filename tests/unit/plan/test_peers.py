"""The ports that a host must reach, and the shell that tries them."""

from __future__ import annotations

import dataclasses
import socket
import subprocess

from deploy.waves import ROLES
from kubewright.plan.peers import PeerPort, asked, peer_ports, probes
from tests.support.scenarios import scenario


def _asked(cluster: str, host: str) -> set[tuple[str, int]]:
    plan = scenario(cluster).plan
    return {(port.node, port.port) for port in asked(plan, peer_ports(plan, ROLES), plan.node(host))}


def test_a_worker_asks_the_masters_and_the_etcd_members() -> None:
    assert _asked("lab", "w1") == {(m, port) for m in ("m1", "m2", "m3") for port in (6443, 2379)}
    assert _asked("ha", "w1") == {(m, 6443) for m in ("m1", "m2", "m3")} | {(e, 2379) for e in ("etcd1", "etcd2", "etcd3")}


def test_a_master_asks_the_other_members_and_every_other_kubelet() -> None:
    masters = {(m, port) for m in ("m2", "m3") for port in (6443, 2379, 2380, 10250)}
    assert _asked("lab", "m1") == masters | {("w1", 10250), ("w2", 10250)}


def test_a_host_with_only_etcd_asks_the_other_members() -> None:
    assert _asked("ha", "etcd1") == {(e, port) for e in ("etcd2", "etcd3") for port in (2379, 2380)}


def test_left_out_hosts_are_not_asked() -> None:
    plan = dataclasses.replace(scenario("lab").plan, absent=frozenset(("m2",)))
    every = peer_ports(plan, ROLES)
    assert {port.node for port in asked(plan, every, plan.node("w1"))} == {"m1", "m3"}


def _said(*ports: int) -> list[str]:
    wanted = [PeerPort(node="x", address="127.0.0.1", port=port, process="x") for port in ports]
    done = subprocess.run(["sh", "-c", probes(wanted)], capture_output=True, text=True, check=False, env={"LC_ALL": "C"})
    assert not done.stderr
    return done.stdout.splitlines()


def test_a_port_that_is_open_or_refuses_is_reached() -> None:
    with socket.socket() as listening, socket.socket() as bound:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        bound.bind(("127.0.0.1", 0))
        assert _said(listening.getsockname()[1], bound.getsockname()[1]) == []


def test_an_address_without_a_route_is_named_with_the_reason() -> None:
    # The kernel refuses a connection to a multicast address, with any routes.
    port = PeerPort(node="x", address="224.0.0.1", port=6443, process="x")
    done = subprocess.run(["sh", "-c", probes((port,))], capture_output=True, text=True, check=False, env={"LC_ALL": "C"})
    assert done.stdout == "224.0.0.1/6443 Network is unreachable\n"


def test_without_peers_the_command_does_nothing() -> None:
    assert probes(()) == ":"
