"""`verify --tls` on the running cluster: every edge is accepted, everything else refused; it fails for a host with lax
settings."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from deploy.waves import ROLES
from kubewright.model.build import make_plan
from kubewright.plan.edges import edges, endpoints
from kubewright.spec import load
from kubewright.tls.attempts import Kind
from tests.cluster.conftest import Cluster

pytestmark = pytest.mark.cluster


def _verify(cluster: Cluster, *, status: int) -> Any:
    done = cluster.kubewright("verify", "--tls", "--json", check=False)
    assert done.returncode == status, f"{done.returncode}\n{done.stdout[-3000:]}\n{done.stderr}"
    return json.loads(done.stdout)


def test_every_edge_is_accepted_and_everything_else_is_refused(cluster: Cluster) -> None:
    plan = make_plan(load(cluster.inventory))
    found = _verify(cluster, status=0)
    counts = found["counts"]
    print(", ".join(f"{number} {what}" for what, number in counts.items()))
    assert (found["failures"], found["left_out"]) == ([], {})
    assert counts["edges"] == counts["accepted"] == len(edges(plan, ROLES))
    tried: dict[tuple[str, str, int], set[str]] = {}
    for attempt in found["attempts"]:
        tried.setdefault((attempt["host"], attempt["address"], attempt["port"]), set()).add(attempt["kind"])
    wrong = {kind.value for kind in Kind} - {Kind.ACCEPTED, Kind.RIGHTS, Kind.NAME}
    assert set(tried) == {(e.host, e.address, e.port) for e in endpoints(plan, ROLES)}
    assert not [port for port, kinds in tried.items() if not wrong <= kinds]


def test_without_the_stores_keys_it_says_what_it_leaves_out(cluster: Cluster) -> None:
    keys = cluster.inventory / "secrets" / "keys.json"
    kept = keys.rename(keys.with_name("kept.json"))
    try:
        found = _verify(cluster, status=0)
    finally:
        kept.rename(keys)
    assert len(found["left_out"]) > 10
    assert "made-up certificates of ca/etcd" in found["left_out"]
    assert 0 < found["counts"]["edges"] < 20, "the load balancers' probes need no certificate"


@contextmanager
def _listener(cluster: Cluster) -> Iterator[None]:
    config = "frontend x\\n mode tcp\\n timeout client 1s\\n bind 0.0.0.0:10255\\n"
    start = "systemd-run -q --unit=kw-test --service-type=notify haproxy -Ws -f /run/kw-test.cfg"
    cluster.ssh("w1", f"printf '{config}' > /run/kw-test.cfg; {start}")
    yield
    cluster.ssh("w1", "systemctl stop kw-test; rm /run/kw-test.cfg")


@contextmanager
def _key(cluster: Cluster) -> Iterator[None]:
    path = "/etc/kubernetes/pki/apiserver-etcd-client.key"
    key = cluster.ssh("m1", f"cat {path}").stdout
    cluster.ssh("w1", f"umask 077; cat > {path}", stdin=key)
    yield
    cluster.ssh("w1", f"rm {path}")


@contextmanager
def _rights(cluster: Cluster) -> Iterator[None]:
    pki = "--cacert=/etc/etcd/pki/ca.crt --cert=/etc/etcd/pki/root.crt --key=/etc/etcd/pki/root.key"
    role = f"etcdctl {pki} --endpoints=https://127.0.0.1:2379 role"
    cluster.ssh("m1", f"{role} grant-permission flannel --prefix=true read /registry/")
    yield
    cluster.ssh("m1", f"{role} revoke-permission flannel --prefix=true /registry/")


@pytest.mark.parametrize(
    ("careless", "expected"),
    [
        (_listener, "w1: tcp 10255: haproxy listens for others to reach"),
        (_key, "w1: /etc/kubernetes/pki/apiserver-etcd-client.key is the private key of apiserver-etcd-client/m1"),
        (_rights, "read the API's namespaces: expected permission denied, got: gRPC status 0"),
    ],
    ids=["a listener outside the plan", "a key where it may not lie", "flannel reads the API's keys"],
)
def test_it_fails_for_a_host_with_lax_settings(cluster: Cluster, careless: Callable[[Cluster], Any], expected: str) -> None:
    with careless(cluster):
        found = _verify(cluster, status=1)
    assert [failure for failure in found["failures"] if expected in failure], found["failures"]
    _verify(cluster, status=0)
