"""Every finding on every host, at once, each with what to do."""

from __future__ import annotations

import dataclasses

import pytest

from deploy.steps import ROLES
from kubewright.engine.preflight import problems
from kubewright.plan.observed import Observed, UnitState
from tests.golden.scenarios import scenario

PLAN = scenario("lab").plan
HOSTS = {node.name: scenario("lab").observed(node.name) for node in PLAN.nodes}
NOW = HOSTS["m1"].clock


def _found(changed: dict[str, object], name: str = "m1") -> list[str]:
    host: Observed = dataclasses.replace(HOSTS[name], **changed)  # type: ignore[arg-type]
    hosts = {**HOSTS, name: host}
    return [str(problem) for problem in problems(PLAN, ROLES, hosts, dict.fromkeys(hosts, NOW))]


def test_fit_hosts_have_no_findings() -> None:
    assert _found({}) == []


SUPPORTED = "debian 12/13, ubuntu 24.04, centos 9/10, rhel 9/10, rocky 9/10, almalinux 9/10"


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            {"os_id": "fedora", "os_version": "42"},
            f"m1: an operating system that kubewright does not know (fedora 42); supported: {SUPPORTED}; install one of these",
        ),
        (
            {"os_id": "", "os_version": ""},
            f"m1: an operating system that kubewright does not know (? ); supported: {SUPPORTED}; install one of these",
        ),
        ({"architecture": "s390x"}, "m1: an unsupported architecture (s390x); amd64 or arm64; use another host"),
        (
            {"free_kib": {"/opt": 1 << 20}},
            "m1: too little space under /opt (1024 MiB free); at least 4096 MiB; free some or mount a larger disk there",
        ),
        (
            {"free_kib": {"/etc": 1 << 10}},
            "m1: too little space under /etc (1 MiB free); at least 100 MiB; free some or mount a larger disk there",
        ),
        (
            {"clock": NOW + 61},
            "m1: its clock differs from this machine's by +61 s; at most 60 s; "
            "synchronise both (chrony), certificates depend on it",
        ),
        (
            {"clock": NOW - 3600},
            "m1: its clock differs from this machine's by -3600 s; at most 60 s; "
            "synchronise both (chrony), certificates depend on it",
        ),
        (
            {"memory_kib": 1 << 20},
            "m1: too little memory for a master (1024 MiB); at least 1700 MiB; give it more, or make it a worker",
        ),
        (
            {"addresses": ("127.0.0.1", "10.0.2.15")},
            "m1: no interface has its address (10.90.0.11); one of its own: 10.0.2.15; "
            "correct hosts[].address in cluster.yaml, or ssh.host if this is another machine",
        ),
        (
            {"listening": {("tcp", 6443): "nginx"}},
            "m1: port 6443 is taken (by nginx); it must be free for kube-apiserver; stop what listens there, or move it",
        ),
        (
            {"listening": {("tcp", 2379): ""}},
            "m1: port 2379 is taken (by an unnamed process); it must be free for etcd; stop what listens there, or move it",
        ),
        (
            {"machine_id": HOSTS["w1"].machine_id},
            f"m1, w1: the same machine-id ({HOSTS['w1'].machine_id}); each host has its own; "
            "on clones: rm /etc/machine-id && systemd-machine-id-setup, then reboot",
        ),
    ],
)
def test_a_finding_says_what_is_wrong_what_is_allowed_and_what_to_do(changed: dict[str, object], message: str) -> None:
    assert _found(changed) == [message]


def test_all_findings_of_all_hosts_come_at_once() -> None:
    hosts = {
        **HOSTS,
        "m1": dataclasses.replace(HOSTS["m1"], clock=NOW + 100, listening={("tcp", 6443): "nginx", ("tcp", 10250): "x"}),
        "w1": dataclasses.replace(HOSTS["w1"], os_id="fedora", addresses=("127.0.0.1",)),
    }
    found = [p.where for p in problems(PLAN, ROLES, hosts, dict.fromkeys(hosts, NOW))]
    assert found == ["m1", "m1", "m1", "w1", "w1"]


def test_a_worker_needs_less_memory_than_a_master() -> None:
    assert _found({"memory_kib": 1 << 20}, "w1") == []


def test_a_little_skew_and_a_foreign_port_are_no_findings() -> None:
    assert _found({"clock": NOW + 59}) == []
    assert _found({"listening": {("tcp", 22): "sshd", ("tcp", 9999): "x", ("udp", 6443): "other"}}) == []


def test_a_host_that_has_its_binaries_needs_little_space() -> None:
    manifest = {"/opt/kubewright/etcd/3.7.3-a/etcd": ("a", 1)}
    assert _found({"free_kib": {"/opt": 1 << 20}, "manifest": manifest}) == []
    assert len(_found({"free_kib": {"/opt": 1 << 10}, "manifest": manifest})) == 1


@pytest.mark.parametrize(
    "ours",
    [
        {"units": {"kube-apiserver.service": UnitState(active="active", enabled="enabled")}},
        {"started_with": {"kube-apiserver.service": {}}},
    ],
    ids=["it runs", "it ran"],
)
def test_a_port_that_our_own_component_listens_on_is_no_finding(ours: dict[str, object]) -> None:
    assert _found({"listening": {("tcp", 6443): "kube-apiserver"}, **ours}) == []
