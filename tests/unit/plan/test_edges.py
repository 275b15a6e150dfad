"""The TLS connections follow from the roles' ports and the certificate table: none is missing, none is invented."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from deploy.waves import ROLES
from kubewright.model.certificates import ROWS, Row
from kubewright.model.cluster import Plan
from kubewright.model.etcd_rights import RIGHTS
from kubewright.plan.edges import Edge, edges, endpoints
from pki.authorities import ETCD
from tests.support.scenarios import NAMES, scenario

ALL = pytest.mark.parametrize("name", NAMES)
USED_WITHOUT_A_PORT = {"front-proxy-client"}
"""The apiserver uses it for extension API servers, which a cluster does not have by default."""


def _between(found: tuple[Edge, ...], row: str, role: str) -> set[tuple[str, str]]:
    return {(e.source, f"{e.endpoint.host}@{e.endpoint.address}") for e in found if (e.row, e.endpoint.role) == (row, role)}


def test_the_lab_has_a_hundred_edges() -> None:
    plan = scenario("lab").plan
    assert Counter(edge.endpoint.role for edge in edges(plan, ROLES)) == {
        "etcd": 45,  # root 3, health 9 + 3, apiserver 9, flannel 15, peers 6
        "apiserver": 30,  # own components 15, administrators 9, load balancers' probes 6
        "kubelet": 15,
        "load_balancer": 4,
        "controller_manager": 3,
        "scheduler": 3,
    }
    assert len(endpoints(plan, ROLES)) == 28


def test_every_apiserver_reaches_every_member_and_every_kubelet_at_its_address() -> None:
    found = edges(scenario("lab").plan, ROLES)
    members = {f"m{n}@10.90.0.1{n}" for n in (1, 2, 3)}
    assert _between(found, "apiserver-etcd-client", "etcd") == {(m, e) for m in ("m1", "m2", "m3") for e in members}
    kubelets = members | {"w1@10.90.0.21", "w2@10.90.0.22"}
    assert _between(found, "apiserver-kubelet-client", "kubelet") == {(m, k) for m in ("m1", "m2", "m3") for k in kubelets}


def test_a_worker_reaches_the_api_on_its_own_loopback_through_the_load_balancer() -> None:
    found = edges(scenario("lab").plan, ROLES)
    assert _between(found, "kubelet-client", "load_balancer") == {("w1", "w1@127.0.0.1"), ("w2", "w2@127.0.0.1")}
    assert ("m1", "m1@127.0.0.1") in _between(found, "kubelet-client", "apiserver")
    assert not [e for e in found if e.endpoint.role == "load_balancer" and e.endpoint.address != "127.0.0.1"]
    assert {e.server_name for e in found if e.row == ""} == {"kubernetes"}


def test_a_member_does_not_connect_to_itself_as_a_peer_but_its_port_is_known_even_alone() -> None:
    peers = _between(edges(scenario("lab").plan, ROLES), "etcd-peer", "etcd")
    assert len(peers) == 6
    alone = endpoints(scenario("single").plan, ROLES)
    assert [sources for endpoint, sources in alone.items() if endpoint.port == 2380] == [(next(iter(alone)).host,)]


def test_a_left_out_host_has_no_edges() -> None:
    plan = replace(scenario("lab").plan, absent=frozenset({"m2"}))
    assert not [e for e in edges(plan, ROLES) if "m2" in (e.source, e.endpoint.host)]
    assert not [e for e in endpoints(plan, ROLES) if e.host == "m2"]


def _rows(plan: Plan) -> list[Row]:
    """The rows of the table that some host of the cluster has."""
    return [row for row in ROWS.values() if any(map(row.on, plan.nodes))]


@ALL
def test_every_client_certificate_of_the_table_is_used_on_an_edge(name: str) -> None:
    plan = scenario(name).plan
    used = {edge.row for edge in edges(plan, ROLES)}
    alone = {"etcd-peer"} if len(plan.etcd_members) == 1 else set()
    wanted = {row.name for row in _rows(plan) if "client" in row.usages} - USED_WITHOUT_A_PORT - {"etcd-server"}
    assert wanted - used == alone


@ALL
def test_every_server_certificate_has_the_names_that_its_clients_expect(name: str) -> None:
    plan = scenario(name).plan
    for edge in edges(plan, ROLES):
        row = ROWS[edge.endpoint.tls.row]
        # Through a load balancer any master may answer.
        servers = plan.masters if edge.endpoint.role == "load_balancer" else (plan.node(edge.endpoint.host),)
        for server in servers:
            subject = row.leaf(plan, server).subject
            assert edge.server_name in {*subject.dns_names, *map(str, subject.addresses)}, edge
            assert "server" in subject.usages


@ALL
def test_every_server_certificate_of_the_table_is_served_by_a_port(name: str) -> None:
    plan = scenario(name).plan
    shown = {endpoint.tls.row for endpoint in endpoints(plan, ROLES)}
    assert shown == {row.name for row in _rows(plan) if "server" in row.usages}


def test_every_client_certificate_of_etcds_authority_has_its_rights_stated() -> None:
    assert set(RIGHTS) == {row.name for row in ROWS.values() if row.authority == ETCD}
