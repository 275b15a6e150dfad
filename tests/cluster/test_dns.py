"""A live cluster changes its DNS provider under look-ups, and outlives kube2sky's and etcd's failures. The tests depend on
their order: to skydns, on it, back to coredns.

About two and a half minutes with the lab; the power cut (soak) is one more.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from deploy.waves import ROLES
from kubewright.model.build import make_plan
from kubewright.plan.edges import edges
from kubewright.spec import load
from tests.cluster.conftest import MASTERS, Cluster, kubewright, write_inventory
from tests.cluster.lookups import Lookups, ask
from tests.cluster.reach import on
from tests.cluster.waiting import until

pytestmark = pytest.mark.cluster

LAB = "dns"
API = "kubernetes.default.svc.cluster.local"
SKYDNS = "network: {dns_provider: skydns, dns_zones: [example.org]}\n"
CHANGE_SECONDS = 5
TAKEOVER_SECONDS = 15
"""The bounds of issue 12."""


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Three masters with the default provider."""
    kubewright("lab", "down", "--name", LAB)
    try:
        kubewright("lab", "up", "--name", LAB, "--hosts", "m1,m2,m3")
        found = Cluster(inventory=write_inventory(tmp_path_factory.mktemp("dns"), LAB, MASTERS), lab_name=LAB)
        found.kubewright("apply")
        yield found
    finally:
        kubewright("lab", "down", "--name", LAB)


def _server(live: Cluster) -> str:
    return str(make_plan(load(live.inventory)).dns_address)


def _lookups(live: Cluster, host: str = "m2") -> Lookups:
    return Lookups(lab=live.lab, host=host, server=_server(live), name=API, expected=["10.96.0.1"])


@contextmanager
def _explained(live: Cluster) -> Iterator[None]:
    """On a failure, the logs that tell why."""
    try:
        yield
    except BaseException:
        for command in (["get", "pods", "-o", "wide"], ["logs", "-l", "k8s-app=kube-dns", "--prefix", "--tail=60"]):
            print(live.kubectl("-n", "kube-system", *command, check=False, timeout=60).stdout)
        for host in ("m1", "m2", "m3"):
            print(live.ssh(host, "journalctl -u kube2sky -n 30 --no-pager", check=False, timeout=60).stdout)
        raise


def _is_known(live: Cluster, name: str, expected: list[str], seconds: float, *, host: str = "m2", kind: str = "A") -> None:
    began = time.monotonic()

    def known() -> bool:
        with on(live.lab, host):
            found = ask(_server(live), name, kind)
        assert found == ("NOERROR" if expected else "NXDOMAIN", expected), str(found)
        return True

    until(f"{name} is {expected}", known, seconds)
    print(f"{name}: {expected} after {time.monotonic() - began:.1f} s")


def _service(live: Cluster, name: str) -> list[str]:
    """A new Service's address. Its name was asked for before, so that its absence is cached."""
    _is_known(live, f"{name}.default.svc.cluster.local", [], 10)
    manifest = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": {"ports": [{"port": 80}]}}
    made = live.kubectl("create", "-f", "-", "-o", "jsonpath={.spec.clusterIP}", stdin=json.dumps(manifest))
    return [made.stdout.strip()]


def _changes_are_seen(live: Cluster, name: str) -> None:
    address = _service(live, name)
    _is_known(live, f"{name}.default.svc.cluster.local", address, CHANGE_SECONDS)
    live.kubectl("delete", "service", name)
    _is_known(live, f"{name}.default.svc.cluster.local", [], CHANGE_SECONDS)


def _writer(live: Cluster) -> str:
    got = live.kubectl("-n", "kube-system", "get", "lease", "kube2sky", "-o", "jsonpath={.spec.holderIdentity}")
    return next(node.name for node in make_plan(load(live.inventory)).masters if got.stdout.startswith(node.name))


def _switch(live: Cluster, network: str) -> None:
    folder: Path = live.inventory
    write_inventory(folder, LAB, MASTERS, network)
    with _explained(live), _lookups(live).running(), _lookups(live, "m1").running():
        print(live.kubewright("apply").stdout)


def test_a_switch_to_skydns_loses_no_look_up(live: Cluster) -> None:
    _changes_are_seen(live, "before")
    _switch(live, SKYDNS)
    assert "nothing to change" in live.kubewright("plan").stdout


def test_under_skydns_verify_holds_and_every_connection_is_as_it_must_be(live: Cluster) -> None:
    with _explained(live):
        live.verified()
    done = live.kubewright("verify", "--tls", "--json", check=False)
    found = json.loads(done.stdout)
    assert (done.returncode, found["failures"], found["left_out"]) == (0, [], {}), done.stdout[-3000:]
    wanted = edges(make_plan(load(live.inventory)), ROLES)
    assert {"coredns-etcd", "kube2sky-etcd"} <= {edge.row for edge in wanted}
    assert found["counts"]["accepted"] == len(wanted)


def test_under_skydns_a_change_of_a_service_is_seen(live: Cluster) -> None:
    with _explained(live):
        _changes_are_seen(live, "sky")


def test_a_name_outside_kubernetes_is_kept_listed_and_removed(live: Cluster) -> None:
    def dns(*words: str) -> str:
        return kubewright("dns", *words, "-i", str(live.inventory)).stdout

    dns("add", "printer.example.org", "A", "192.0.2.9", "192.0.2.10")
    dns("add", "printer.example.org", "TXT", 'room "7"')
    dns("add", "_ipp._tcp.example.org", "SRV", "10 100 631 printer.example.org")
    dns("add", "drucker.example.org", "CNAME", "printer.example.org")
    with _explained(live):
        _is_known(live, "printer.example.org", ["192.0.2.10", "192.0.2.9"], CHANGE_SECONDS)
        _is_known(live, "drucker.example.org", ["192.0.2.10", "192.0.2.9"], CHANGE_SECONDS)
        _is_known(live, "printer.example.org", ['"room \\"7\\""'], CHANGE_SECONDS, kind="TXT")
        _is_known(live, "_ipp._tcp.example.org", ["10 100 631 printer.example.org."], CHANGE_SECONDS, kind="SRV")
    assert [row["name"] for row in json.loads(dns("list", "--json"))].count("printer.example.org") == 3
    dns("remove", "printer.example.org", "drucker.example.org", "_ipp._tcp.example.org")
    assert json.loads(dns("list", "--json")) == []
    _is_known(live, "printer.example.org", [], CHANGE_SECONDS)


@pytest.mark.parametrize("how", ["kill -s KILL", "stop"])
def test_without_the_writing_kube2sky_look_ups_go_on_and_new_names_come(live: Cluster, how: str) -> None:
    writer = _writer(live)
    name = {"kill -s KILL": "killed", "stop": "stopped"}[how]
    with _explained(live), _lookups(live).running():
        address = _service(live, name)
        live.ssh(writer, f"systemctl {how} kube2sky")
        live.kubectl("annotate", "service", name, "test/at=now")
        _is_known(live, f"{name}.default.svc.cluster.local", address, TAKEOVER_SECONDS)
        later = _service(live, f"{name}-later")
        _is_known(live, f"{name}-later.default.svc.cluster.local", later, TAKEOVER_SECONDS)
    live.ssh(writer, "systemctl start kube2sky")


def test_without_an_etcd_member_look_ups_go_on_and_new_names_come(live: Cluster) -> None:
    with _explained(live), _lookups(live).running():
        live.ssh("m3", "systemctl stop etcd")
        try:
            address = until("the API takes a Service", lambda: _service(live, "two-of-three"), 30)
            _is_known(live, "two-of-three.default.svc.cluster.local", address, TAKEOVER_SECONDS)
        finally:
            live.ssh("m3", "systemctl start etcd")
    live.verified()


@pytest.mark.soak
def test_without_the_writers_host_look_ups_go_on_and_new_names_come(live: Cluster) -> None:
    writer = _writer(live)
    host = next(name for name in ("m1", "m2", "m3") if name != writer)
    with _explained(live):
        live.stop(writer)
        try:
            began = time.monotonic()
            with _lookups(live, host).running():
                address = until("the API takes a Service", lambda: _made(live, "after-power"), 60)
                _is_known(live, "after-power.default.svc.cluster.local", address, TAKEOVER_SECONDS, host=host)
                print(f"a new name {time.monotonic() - began:.1f} s after the power cut")
        finally:
            live.start(writer)
    live.verified()


def _made(live: Cluster, name: str) -> list[str]:
    manifest = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": {"ports": [{"port": 80}]}}
    live.kubectl("apply", "-f", "-", stdin=json.dumps(manifest))
    return [live.kubectl("get", "service", name, "-o", "jsonpath={.spec.clusterIP}").stdout.strip()]


def test_the_switch_back_loses_no_look_up_and_leaves_nothing_on_hosts(live: Cluster) -> None:
    _switch(live, "")
    _changes_are_seen(live, "after")
    for host in ("m1", "m2", "m3"):
        left = "find /etc/kube2sky /etc/kubernetes/coredns -type f 2>/dev/null; systemctl is-active kube2sky"
        assert live.ssh(host, left, check=False).stdout == "inactive\n"
    assert "coredns-skydns" not in live.kubectl("-n", "kube-system", "get", "configmaps", "-o", "name").stdout
    live.verified()
