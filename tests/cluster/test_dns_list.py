"""One list of names, asked of both DNS providers: real etcd, kube-apiserver, kube2sky and CoreDNS on loopback, without a lab.

About a minute; the soak test with 2,000 Services takes two more.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.cluster.waiting import until
from tests.support.components import Components, components, service, slice_of

pytestmark = pytest.mark.cluster

COREDNS, SKYDNS = PROVIDERS = ("coredns", "skydns")
SVC = "svc.cluster.local"
WEB, ONE, NODE_PORT = "10.96.1.1", "10.96.1.2", "10.96.1.3"
SQL = [{"name": "sql", "port": 5432, "protocol": "TCP"}, {"name": "admin", "port": 9000, "protocol": "TCP"}]
SYNC = 10
"""Seconds for a change to be seen: the watch, kube2sky's writes, and three seconds of CoreDNS' cache."""


def _endpoint(address: str, hostname: str = "", *, ready: bool = True) -> dict[str, Any]:
    return {"addresses": [address], "conditions": {"ready": ready}, **({"hostname": hostname} if hostname else {})}


OBJECTS = {
    "shop": (
        service(
            "web",
            clusterIP=WEB,
            ports=[{"name": "http", "port": 80}, {"name": "https", "port": 443}, {"name": "dns", "port": 53, "protocol": "UDP"}],
        ),
        service("one", clusterIP=ONE, ports=[{"port": 8080}]),
        service("node-port", clusterIP=NODE_PORT, type="NodePort", ports=[{"name": "http", "port": 80}]),
        # Headless, as a StatefulSet has it: pods with a hostname and this Service as their subdomain.
        service("db", clusterIP="None", ports=[{"name": "sql", "port": 5432}]),
        service("bare", clusterIP="None", ports=[{"name": "http", "port": 80}]),
        service("early", clusterIP="None", publishNotReadyAddresses=True),
        service("quiet", clusterIP="None", ports=[]),
        service("six", clusterIP="None"),
        service("empty", clusterIP="None"),
        service("thief", clusterIP="None"),
    ),
    "outside": (
        {"metadata": {"name": "www"}, "spec": {"type": "ExternalName", "externalName": "www.example.org"}},
        {"metadata": {"name": "alias"}, "spec": {"type": "ExternalName", "externalName": f"web.shop.{SVC}"}},
        {"metadata": {"name": "number"}, "spec": {"type": "ExternalName", "externalName": "192.0.2.9"}},
    ),
}
SLICES = (
    slice_of("db", _endpoint("10.244.1.10", "db-0"), _endpoint("10.244.2.10", "db-1"), ports=SQL),
    slice_of("db", _endpoint("10.244.3.10", "db-2", ready=False), ports=SQL, name="db-2"),
    slice_of("bare", _endpoint("10.244.1.20"), _endpoint("10.244.2.20"), ports=[{"name": "http", "port": 8080}]),
    slice_of("early", _endpoint("10.244.1.30", "early-0"), ports=[{"name": "http", "port": 80}]),
    slice_of("quiet", _endpoint("10.244.1.40", "quiet-0"), ports=[]),
    slice_of("six", _endpoint("fd00::10", "six-0"), ports=[{"name": "http", "port": 80}], kind="IPv6"),
    # An address of a Service of its own.
    slice_of("thief", _endpoint(WEB, "thief-0"), ports=[{"name": "http", "port": 80}]),
)

Answer = tuple[str, frozenset[str]]
NO_DATA: Answer = ("NOERROR", frozenset())
NO_NAME: Answer = ("NXDOMAIN", frozenset())
_10 = "{}.10.in-addr.arpa"


def _is(name: str, kind: str, *values: str) -> Answer:
    return "NOERROR", frozenset(f"{name}. {kind} {value}".lower() for value in values)


def _gives(name: str, kind: str, *values: str) -> tuple[str, str, Answer]:
    return name, kind, _is(name, kind, *values)


ALIKE = (
    # Services with a cluster IP.
    _gives(f"web.shop.{SVC}", "A", WEB),
    _gives(f"one.shop.{SVC}", "A", ONE),
    _gives(f"node-port.shop.{SVC}", "A", NODE_PORT),
    _gives(f"kubernetes.default.{SVC}", "A", "10.96.0.1"),
    (f"WEB.Shop.{SVC}", "A", _is(f"web.shop.{SVC}", "A", WEB)),
    (f"web.shop.{SVC}", "AAAA", NO_DATA),
    (f"web.shop.{SVC}", "CNAME", NO_DATA),
    (f"web.shop.{SVC}", "TXT", NO_DATA),
    (f"web.shop.{SVC}", "MX", NO_DATA),
    _gives(f"web.shop.{SVC}", "SRV", *(f"33 {port} web.shop.{SVC}." for port in (80, 443, 53))),
    _gives(f"one.shop.{SVC}", "SRV", f"100 8080 one.shop.{SVC}."),
    _gives(f"_http._tcp.web.shop.{SVC}", "SRV", f"100 80 web.shop.{SVC}."),
    _gives(f"_https._tcp.web.shop.{SVC}", "SRV", f"100 443 web.shop.{SVC}."),
    _gives(f"_dns._udp.web.shop.{SVC}", "SRV", f"100 53 web.shop.{SVC}."),
    _gives(f"_http._tcp.web.shop.{SVC}", "A", WEB),
    (f"_dns._tcp.web.shop.{SVC}", "SRV", NO_NAME),
    (f"_ftp._tcp.web.shop.{SVC}", "SRV", NO_NAME),
    # Headless Services.
    _gives(f"db.shop.{SVC}", "A", "10.244.1.10", "10.244.2.10"),
    _gives(f"db-0.db.shop.{SVC}", "A", "10.244.1.10"),
    _gives(f"db-1.db.shop.{SVC}", "A", "10.244.2.10"),
    (f"db-0.db.shop.{SVC}", "AAAA", NO_DATA),
    (f"db-0.db.shop.{SVC}", "CNAME", NO_DATA),
    (f"db-2.db.shop.{SVC}", "A", NO_NAME),
    (f"db-9.db.shop.{SVC}", "A", NO_NAME),
    _gives(f"_sql._tcp.db.shop.{SVC}", "SRV", *(f"50 5432 db-{n}.db.shop.{SVC}." for n in (0, 1))),
    _gives(f"_admin._tcp.db.shop.{SVC}", "SRV", *(f"50 9000 db-{n}.db.shop.{SVC}." for n in (0, 1))),
    _gives(f"db.shop.{SVC}", "SRV", *(f"25 {port} db-{n}.db.shop.{SVC}." for n in (0, 1) for port in (5432, 9000))),
    _gives(f"db-0.db.shop.{SVC}", "SRV", *(f"50 {port} db-0.db.shop.{SVC}." for port in (5432, 9000))),
    _gives(f"bare.shop.{SVC}", "A", "10.244.1.20", "10.244.2.20"),
    _gives(f"10-244-1-20.bare.shop.{SVC}", "A", "10.244.1.20"),
    _gives(f"_http._tcp.bare.shop.{SVC}", "SRV", *(f"50 8080 10-244-{n}-20.bare.shop.{SVC}." for n in (1, 2))),
    _gives(f"early-0.early.shop.{SVC}", "A", "10.244.1.30"),
    _gives(f"quiet.shop.{SVC}", "A", "10.244.1.40"),
    (f"quiet.shop.{SVC}", "SRV", NO_DATA),
    _gives(f"six.shop.{SVC}", "AAAA", "fd00::10"),
    _gives(f"six-0.six.shop.{SVC}", "AAAA", "fd00::10"),
    (f"six-0.six.shop.{SVC}", "A", NO_DATA),
    (f"empty.shop.{SVC}", "A", NO_NAME),
    # ExternalName.
    _gives(f"www.outside.{SVC}", "CNAME", "www.example.org."),
    _gives(f"alias.outside.{SVC}", "CNAME", f"web.shop.{SVC}."),
    (
        f"alias.outside.{SVC}",
        "A",
        ("NOERROR", frozenset({f"alias.outside.{SVC}. cname web.shop.{SVC}.", f"web.shop.{SVC}. a {WEB}"})),
    ),
    (f"number.outside.{SVC}", "A", NO_NAME),
    # Addresses.
    _gives(_10.format("1.1.96"), "PTR", f"web.shop.{SVC}."),
    _gives(_10.format("1.0.96"), "PTR", f"kubernetes.default.{SVC}."),
    _gives(_10.format("10.1.244"), "PTR", f"db-0.db.shop.{SVC}."),
    _gives(_10.format("20.1.244"), "PTR", f"10-244-1-20.bare.shop.{SVC}."),
    _gives("0.1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa", "PTR", f"six-0.six.shop.{SVC}."),
    (_10.format("10.3.244"), "PTR", NO_NAME),
    (_10.format("99.99.244"), "PTR", NO_NAME),
    # Pods, and names of which there are none.
    _gives("10-244-1-10.shop.pod.cluster.local", "A", "10.244.1.10"),
    ("10-244-1-999.shop.pod.cluster.local", "A", NO_NAME),
    (f"nothing.shop.{SVC}", "A", NO_NAME),
    (f"nothing.shop.{SVC}", "AAAA", NO_NAME),
    (f"web.nowhere.{SVC}", "A", NO_NAME),
    (f"nowhere.{SVC}", "A", NO_NAME),
    ("nothing.cluster.local", "A", NO_NAME),
    # Names that only have names below them.
    (f"shop.{SVC}", "A", NO_DATA),
    (f"shop.{SVC}", "SRV", NO_DATA),
    (SVC, "A", NO_DATA),
    ("cluster.local", "A", NO_DATA),
    _gives("dns-version.cluster.local", "TXT", '"1.1.0"'),
)
"""Names that both providers answer alike: SRV records without their priority, 0 and 10."""

SHORT = (
    _gives("web.shop.cluster.local", "A", WEB),
    _gives("db.shop.cluster.local", "A", "10.244.1.10", "10.244.2.10"),
    _gives("db-0.db.shop.cluster.local", "A", "10.244.1.10"),
    _gives("www.outside.cluster.local", "CNAME", "www.example.org."),
    ("shop.cluster.local", "A", NO_DATA),
    ("nothing.shop.cluster.local", "A", NO_NAME),
)
"""The book's short names, which only skydns has."""


def _namespace(each: Components, name: str) -> str:
    each.create("/api/v1/namespaces", {"metadata": {"name": name}})
    return f"/api/v1/namespaces/{name}/services"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Components]:
    """Both providers, with OBJECTS and SLICES."""
    with components(tmp_path_factory.mktemp("dns")) as made:
        for namespace, objects in OBJECTS.items():
            made.create(_namespace(made, namespace), *objects)
        made.create("/apis/discovery.k8s.io/v1/namespaces/shop/endpointslices", *SLICES)
        made.start_kube2sky()
        until("etcd has every name", made.is_ready, 30)
        for provider in PROVIDERS:
            made.start_coredns(provider)
        yield made


@pytest.mark.parametrize("provider", PROVIDERS)
def test_the_list_of_names_has_the_same_answers_under_both_providers(running: Components, provider: str) -> None:
    assert len(ALIKE) >= 40
    said = {(name, kind): running.ask(provider, name, kind) for name, kind, _ in ALIKE}
    wrong = {f"{name} {kind}": (said[name, kind], right) for name, kind, right in ALIKE if said[name, kind] != right}
    assert not wrong, "\n".join(f"{name}: {got}, not {right}" for name, (got, right) in wrong.items())
    print(f"{provider}: {len(ALIKE)} of {len(ALIKE)} answers are right")


def test_skydns_has_short_names_and_coredns_has_none(running: Components) -> None:
    assert {name: running.ask(SKYDNS, name, kind) for name, kind, _ in SHORT} == {name: right for name, _, right in SHORT}
    assert {running.ask(COREDNS, name, kind)[0] for name, kind, _ in SHORT} == {"NXDOMAIN"}


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_changed_service_is_seen(running: Components, provider: str) -> None:
    path = "/api/v1/namespaces/shop/services"
    name = f"new-{provider}.shop.{SVC}"
    assert running.ask(provider, name) == NO_NAME
    running.create(path, service(f"new-{provider}", clusterIP="10.96.2.1"))
    until("the new name is there", lambda: running.ask(provider, name) == _is(name, "A", "10.96.2.1"), SYNC)
    assert running.api.delete(f"{path}/new-{provider}").status_code == 200
    until("the name is gone", lambda: running.ask(provider, name) == NO_NAME, SYNC)


def test_coredns_may_read_the_records_and_write_none(running: Components) -> None:
    assert running.etcdctl("get", "--prefix", "/skydns/", who="coredns").stdout
    for refused in (("put", "/skydns/x", "{}"), ("del", "/skydns/x"), ("get", "--prefix", "/registry/")):
        done = running.etcdctl(*refused, who="coredns", check=False)
        assert done.returncode != 0 and "permission denied" in done.stderr, refused


def test_kube2sky_may_write_the_records_and_read_nothing_else(running: Components) -> None:
    for refused in (("get", "--prefix", "/registry/"), ("put", "/registry/x", "x"), ("get", "/coreos.com/network/config")):
        done = running.etcdctl(*refused, who="kube2sky", check=False)
        assert done.returncode != 0 and "permission denied" in done.stderr, refused


def test_kube2sky_may_read_only_services_and_endpoints_and_use_its_lease(running: Components) -> None:
    spec = {"user": "system:kube2sky"}

    def allowed(**attributes: str) -> bool:
        review = {"spec": {**spec, "resourceAttributes": attributes}}
        answer = running.api.post("/apis/authorization.k8s.io/v1/subjectaccessreviews", json=review)
        return bool(answer.json()["status"]["allowed"])

    leases = {"group": "coordination.k8s.io", "resource": "leases", "namespace": "kube-system"}
    assert allowed(verb="list", resource="services") and allowed(verb="update", name="kube2sky", **leases)
    assert not allowed(verb="update", name="kube-scheduler", **leases)
    for resource in ("secrets", "pods", "configmaps"):
        assert not allowed(verb="list", resource=resource), resource
    assert not allowed(verb="update", resource="services")


def test_a_name_from_elsewhere_stays_and_is_not_overwritten(running: Components) -> None:
    mine = "/skydns/org/example/hosts/printer"
    running.etcdctl("put", mine, '{"host":"192.0.2.77","ttl":3}')
    name = "printer.hosts.example.org"
    until("the name is there", lambda: running.ask(SKYDNS, name) == _is(name, "A", "192.0.2.77"), SYNC)
    taken = "/skydns/local/cluster/svc/shop/taken"
    running.etcdctl("put", taken, '{"host":"192.0.2.78"}')
    running.create("/api/v1/namespaces/shop/services", service("taken", clusterIP="10.96.2.9"))
    until("the conflict is counted", lambda: running.metric("conflicts") == 1, SYNC)
    assert running.records()[taken] == '{"host":"192.0.2.78"}'
    assert running.records()[mine] == '{"host":"192.0.2.77","ttl":3}'
    running.api.delete("/api/v1/namespaces/shop/services/taken")
    running.etcdctl("del", taken)
    until("there is no conflict", lambda: running.metric("conflicts") == 0, SYNC)


def test_a_deposed_instance_writes_nothing_and_names_that_vanished_meanwhile_are_removed(running: Components) -> None:
    path = "/api/v1/namespaces/shop/services"
    name = f"late.shop.{SVC}"
    running.create(path, service("late", clusterIP="10.96.2.20"))
    until("the name is there", lambda: running.ask(SKYDNS, name) == _is(name, "A", "10.96.2.20"), SYNC)
    running.kill("kube2sky")
    running.api.delete(f"{path}/late")
    assert any("/late" in key for key in running.records())
    running.start_kube2sky("second")
    until("another instance has removed the name", lambda: not any("/late" in key for key in running.records()), 15)
    until("it is ready", lambda: running.is_ready("second"), 15)
    # A newer holder of the fence: what `second` would write now is not written, and it ends.
    fence = "/skydns/_kube2sky/fence"
    assert json.loads(running.etcdctl("get", fence, "--print-value-only").stdout)["holder"].startswith("second_")
    running.etcdctl("put", fence, '{"by":"kube2sky","holder":"newer"}')
    before = running.records()
    running.create(path, service("never", clusterIP="10.96.2.21"))
    child = running.running.pop("second")
    assert child.wait(timeout=30) == 1
    assert "another instance writes now" in running.log("second")
    assert running.records() == before
    running.api.delete(f"{path}/never")
    running.start_kube2sky()
    until("it is ready again", running.is_ready, 30)


def test_a_waiting_instance_is_ready_and_takes_over_within_fifteen_seconds(running: Components) -> None:
    running.start_kube2sky("other")
    until("the other one is ready too", lambda: running.is_ready("other"), 15)
    assert (running.metric("leader"), running.metric("leader", "other")) == (1, 0)
    running.kill("kube2sky")
    path, name = "/api/v1/namespaces/shop/services", f"after.shop.{SVC}"
    running.create(path, service("after", clusterIP="10.96.2.30"))
    # The bound of the takeover is the issue's.
    until("the new name is there", lambda: running.ask(SKYDNS, name) == _is(name, "A", "10.96.2.30"), 15)
    assert running.metric("leader", "other") == 1
    running.api.delete(f"{path}/after")
    running.kill("other")
    running.start_kube2sky()
    until("it is ready again", running.is_ready, 30)


@pytest.mark.soak
def test_of_2000_services_made_and_deleted_none_is_missing_and_none_stays(running: Components) -> None:
    before = running.records()
    path = _namespace(running, "many")
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: running.create(path, service(f"s{n}")), range(2000)))

    def names() -> int:
        return len({key for key in running.records() if key.startswith("/skydns/local/cluster/svc/many/s")} - set(before)) // 2

    until("every name is there", lambda: names() == 2000, 30)
    assert running.ask(SKYDNS, f"s1999.many.{SVC}")[0] == "NOERROR"
    print(f"kube2sky has {running.metric('resident_memory_bytes') / 2**20:.0f} MiB")
    assert running.api.delete(path).status_code == 200
    until("no name is left", lambda: running.records() == before, 30)
