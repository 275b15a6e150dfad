"""CoreDNS under both providers: the Corefile's text, the Deployment, the certificate, the number of pods."""

from __future__ import annotations

import dataclasses
import functools
import json
import tempfile
from pathlib import Path
from typing import Any

import pytest

from kubewright.model.build import make_plan
from kubewright.model.cluster import Node, Plan
from kubewright.plan.context import Context
from pki.store import Entry
from roles.coredns.corefile import corefile
from roles.coredns.role import ROLE
from roles.coredns.size import replicas
from roles.coredns_certificates.role import ROLE as CERTIFICATES
from roles.etcd_users.role import ROLE as ETCD_USERS
from tests.support.scenarios import Scenario, filled_store, scenario, spec_of

LAB = scenario("lab").plan
SKYDNS = """
name: lab
network:
  dns_provider: skydns
  dns_zones: [example.org]
  dns_stub_domains: {corp.example.net: [192.0.2.53, "192.0.2.54:5353"]}
hosts:
  - {name: m1, address: 10.90.0.11, roles: [master]}
  - {name: w1, address: 10.90.0.21, roles: [worker]}
  - {name: e1, address: 10.90.0.31, roles: [etcd]}
"""
COREDNS_TEXT = """\
cluster.local:53 96.10.in-addr.arpa:53 244.10.in-addr.arpa:53 in-addr.arpa:53 ip6.arpa:53 {
    errors
    prometheus :9153
    ready
    kubernetes cluster.local in-addr.arpa ip6.arpa {
        pods insecure
        fallthrough in-addr.arpa ip6.arpa
        ttl 3
    }
    cache 3 {
        success 9984 3 1
        denial 9984 3 1
    }
    forward . /etc/resolv.conf {
        max_concurrent 1000
    }
    loadbalance
}

.:53 {
    errors
    prometheus :9153
    health {
        lameduck 5s
    }
    forward . /etc/resolv.conf {
        max_concurrent 1000
    }
    cache 30
    loop
    reload
    loadbalance
}
"""
SKYDNS_PARTS = """\
    etcd cluster.local example.org in-addr.arpa ip6.arpa {
        path /skydns
        endpoint https://10.90.0.31:2379
        tls /etc/kubernetes/coredns/coredns.crt /etc/kubernetes/coredns/coredns.key /etc/kubernetes/coredns/ca.crt
        no_apex_fallback
    }
    cache 3 {
        success 9984 3 1
        denial 9984 3 1
        serve_stale 1h verify 1s
    }
    loadbalance
}

corp.example.net:53 {
    errors
    prometheus :9153
    cache 30
    forward . 192.0.2.53 192.0.2.54:5353 {
        max_concurrent 1000
    }
    loadbalance
}

.:53 {
"""


@functools.cache
def skydns() -> Scenario:
    plan = make_plan(spec_of(SKYDNS))
    with tempfile.TemporaryDirectory() as folder:
        return dataclasses.replace(scenario("lab"), name="skydns", plan=plan, store=filled_store(plan, Path(folder)))


def _objects(context: Context) -> dict[str, Any]:
    (task,) = ROLE.desired(context).tasks
    return {f"{item['kind']} {item['metadata']['name']}": item for item in json.loads(task.content)["items"]}


def _pods(context: Context) -> Any:
    return _objects(context)["Deployment coredns"]["spec"]["template"]


# -- the Corefile


def test_with_coredns_names_come_from_the_api_and_are_cached_for_seconds() -> None:
    assert corefile(LAB, forwards=True) == COREDNS_TEXT


def test_with_skydns_names_come_from_etcd_and_all_else_is_the_same() -> None:
    text = corefile(skydns().plan, forwards=False)
    assert SKYDNS_PARTS in text and "    kubernetes " not in text
    without = dataclasses.replace(LAB, dns_provider="skydns")
    begin, end = COREDNS_TEXT.index("    kubernetes"), COREDNS_TEXT.index("    cache 3")
    sky = corefile(without, forwards=True).replace("        serve_stale 1h verify 1s\n", "")
    assert sky.startswith(COREDNS_TEXT[:begin]) and sky.endswith(COREDNS_TEXT[end:])


@pytest.mark.parametrize("provider", ["coredns", "skydns"])
def test_upstreams_replace_the_hosts_servers_and_without_any_nothing_is_forwarded(provider: str) -> None:
    plan = dataclasses.replace(LAB, dns_provider=provider)
    named = corefile(dataclasses.replace(plan, dns_upstreams=("192.0.2.53", "192.0.2.54:5353")), forwards=False)
    assert named.count("forward . 192.0.2.53 192.0.2.54:5353 {") == 2 and "resolv.conf" not in named
    alone = corefile(plan, forwards=False)
    assert "forward" not in alone and "fallthrough in-addr.arpa" not in alone, "an unknown reverse name ends here"


def test_each_zone_is_in_one_server_block_only() -> None:
    keys = [
        word for line in corefile(skydns().plan, forwards=True).splitlines() if line.endswith(":53 {") for word in line.split()
    ]
    assert len(keys) == len(set(keys)) + keys.count("{") - 1


# -- the Deployment


def test_skydns_pods_mount_the_certificate_and_hold_no_rights_in_the_api() -> None:
    objects, pods = _objects(skydns().context("m1")), _pods(skydns().context("m1"))
    assert not [name for name in objects if name.startswith("ClusterRole")]
    assert "ConfigMap coredns-skydns" in objects and "ConfigMap coredns" not in objects
    assert pods["spec"]["automountServiceAccountToken"] is False
    assert {"name": "pki", "hostPath": {"path": "/etc/kubernetes/coredns", "type": "Directory"}} in pods["spec"]["volumes"]
    (container,) = pods["spec"]["containers"]
    assert {"name": "pki", "mountPath": "/etc/kubernetes/coredns", "readOnly": True} in container["volumeMounts"]
    assert container["securityContext"]["capabilities"] == {"add": ["NET_BIND_SERVICE"], "drop": ["ALL"]}


def test_coredns_pods_have_neither() -> None:
    objects, pods = _objects(scenario("lab").context("m1")), _pods(scenario("lab").context("m1"))
    assert {"ClusterRole system:coredns", "ClusterRoleBinding system:coredns", "ConfigMap coredns"} <= set(objects)
    assert "pki" not in json.dumps(pods) and "annotations" not in pods["metadata"]


@pytest.mark.parametrize("changed", ["coredns-etcd/m1", "coredns-etcd/w1", "ca/etcd"])
def test_pods_roll_when_a_certificate_that_they_read_changes(changed: str) -> None:
    made = skydns()
    before, entries = made.context("m1"), made.store.entries
    other = Entry(certificate=scenario("ha").store.entries["ca/etcd"].certificate, key_sha256="0" * 64)
    after = dataclasses.replace(before, certificates={**entries, changed: other})
    assert _pods(before) != _pods(after)
    flannel = dataclasses.replace(before, certificates={**entries, "flannel/m1": other})
    assert _pods(before) == _pods(flannel), "others' certificates roll nothing"


def test_a_single_host_starts_the_new_pod_before_the_old_one_ends() -> None:
    deployment = _objects(scenario("single").context("m1"))["Deployment coredns"]["spec"]
    assert deployment["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}
    assert "affinity" not in deployment["template"]["spec"], "both are on that host"
    several = _objects(scenario("lab").context("m1"))["Deployment coredns"]["spec"]
    assert several["strategy"]["rollingUpdate"] == {"maxSurge": 0, "maxUnavailable": 1}


def test_the_pods_of_one_version_share_no_host_and_admit_those_of_another() -> None:
    (spread,) = _pods(scenario("lab").context("m1"))["spec"]["topologySpreadConstraints"]
    assert (spread["topologyKey"], spread["maxSkew"]) == ("kubernetes.io/hostname", 1)
    assert (spread["whenUnsatisfiable"], spread["matchLabelKeys"]) == ("DoNotSchedule", ["pod-template-hash"])


def test_another_number_of_hosts_replaces_no_pod() -> None:
    context = scenario("lab").context("m1")
    alone = dataclasses.replace(context, plan=dataclasses.replace(context.plan, absent=frozenset({"m2", "m3", "w1", "w2"})))
    assert _pods(context) == _pods(alone)


def _sized(nodes: int) -> Plan:
    worker = LAB.node("w1")
    return dataclasses.replace(LAB, nodes=tuple(dataclasses.replace(worker, name=f"w{n}") for n in range(nodes)))


@pytest.mark.parametrize(("nodes", "pods"), [(1, 1), (2, 2), (5, 2), (32, 2), (33, 3), (160, 10)])
def test_there_are_two_pods_and_one_for_each_16_nodes_where_that_is_more(nodes: int, pods: int) -> None:
    assert replicas(_sized(nodes)) == pods


# -- the certificate


def test_every_host_that_runs_pods_has_the_certificate_and_no_other() -> None:
    def has(node: Node) -> bool:
        return CERTIFICATES.runs_on(node)

    assert [node.name for node in skydns().plan.nodes if has(node)] == ["m1", "w1"]
    assert not any(map(has, LAB.nodes)), "coredns needs none"
    files = {file.path: file for file in CERTIFICATES.desired(skydns().context("w1")).files}
    assert set(files) == {f"/etc/kubernetes/coredns/{name}" for name in ("ca.crt", "coredns.crt", "coredns.key")}
    assert (files["/etc/kubernetes/coredns/coredns.key"].mode, files["/etc/kubernetes/coredns/coredns.key"].owner) == (
        0o600,
        "root",
    )


def test_coredns_may_only_read_below_skydns_in_etcd() -> None:
    (task,) = ETCD_USERS.desired(skydns().context("e1")).tasks
    script = task.content.decode()
    assert "etcdctl role grant-permission coredns --prefix=true read /skydns/\n" in script
    assert task.evidence["the right of etcd's role coredns to /skydns/"] == "read"
    (without,) = ETCD_USERS.desired(scenario("lab").context("m1")).tasks
    assert "coredns" not in without.content.decode()
