"""Hosts join, leave and are replaced on real hosts.

A lab of its own, with spare hosts. One master becomes three, and a lost one is replaced: about four minutes. The rest is soak,
about fifteen minutes more. The tests depend on each other, in this order.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator

import pytest

from kubewright.model.build import make_plan
from kubewright.model.certificates import hosts_of
from kubewright.spec import load
from pki.store import Store
from roles.etcd.checks import ETCDCTL
from tests.cluster.conftest import KUBEWRIGHT, Cluster, Done, import_test_image, kubewright, write_inventory
from tests.cluster.load import Load
from tests.cluster.waiting import until
from tests.cluster.workloads import Workloads

pytestmark = pytest.mark.cluster

LAB_NAME = "members"
NAMES = ("m1", "m2", "m3", "m4", "w1", "w2")
FIRST = """hosts:
  - {name: m1, address: 10.90.0.11, roles: [master]}
  - {name: w1, address: 10.90.0.21, roles: [worker]}
  - {name: w2, address: 10.90.0.22, roles: [worker]}
"""


def _line(name: str) -> str:
    role, base = ("master", 10) if name[0] == "m" else ("worker", 20)
    return f"  - {{name: {name}, address: 10.90.0.{base + int(name[1:])}, roles: [{role}]}}\n"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    kubewright("lab", "down", "--name", LAB_NAME)
    try:
        kubewright("lab", "up", "--name", LAB_NAME, "--hosts", ",".join(NAMES))
        inventory = write_inventory(tmp_path_factory.mktemp("members"), LAB_NAME, FIRST)
        found = Cluster(inventory=inventory, lab_name=LAB_NAME)
        found.kubewright("apply")
        yield found
    finally:
        kubewright("lab", "down", "--name", LAB_NAME)


def _add(cluster: Cluster, *names: str) -> None:
    """To cluster.yaml, at the end of its hosts."""
    path = cluster.inventory / "cluster.yaml"
    path.write_text(path.read_text().rstrip("\n") + "\n" + "".join(map(_line, names)))


def _node(cluster: Cluster, verb: str, *words: str, check: bool = True) -> Done:
    done = kubewright("node", verb, "-i", str(cluster.inventory), *words, check=check)
    print(done.stdout)
    return done


def _settled(cluster: Cluster, *masters: str) -> None:
    """Those masters are the members and the nodes, nothing of others is left, and all checks hold."""
    plan = make_plan(load(cluster.inventory))
    assert {n.name for n in plan.masters} == set(masters)
    listed = cluster.ssh(masters[0], f"{ETCDCTL} --endpoints=https://127.0.0.1:2379 member list").stdout
    rows = [line.split(", ") for line in listed.splitlines()]
    assert {row[2]: row[5] for row in rows} == dict.fromkeys(masters, "false")
    nodes = json.loads(cluster.kubectl("get", "nodes", "-o", "json").stdout)["items"]
    assert {item["metadata"]["name"] for item in nodes} == {n.name for n in plan.kubelets}
    assert hosts_of(Store(cluster.inventory).entries, "kubelet-client") == {n.name for n in plan.kubelets}
    cluster.verified()
    assert "nothing to change" in cluster.kubewright("apply").stdout


def test_one_master_becomes_three(cluster: Cluster) -> None:
    cluster.kubectl("create", "configmap", "kept")
    _add(cluster, "m2", "m3")
    refused = cluster.kubewright("apply", check=False)
    assert refused.returncode == 3 and "kubewright node add" in refused.stdout + refused.stderr
    assert kubewright("node", "add", "-i", str(cluster.inventory), "--plan", check=False).returncode == 2
    _node(cluster, "add")
    _settled(cluster, "m1", "m2", "m3")


def test_the_first_master_is_lost_and_another_host_takes_its_place(cluster: Cluster) -> None:
    cluster.stop("m1")
    _add(cluster, "m4")
    silent = _node(cluster, "replace", "m1", "m4", "--yes", check=False)
    assert silent.returncode == 1 and "--dead" in silent.stdout + silent.stderr
    early = _node(cluster, "replace", "m1", "m4", "--dead", "--yes", check=False)
    assert early.returncode == 0 or (early.returncode == 3 and "its node is Ready" in early.stdout + early.stderr)

    def is_seen() -> bool:
        said = cluster.kubectl("get", "node", "m1", "-o", "jsonpath={.status.conditions[?(@.type=='Ready')].status}", check=False)
        return said.stdout != "True"

    until("the cluster sees that m1 is off", is_seen, 120)
    done = early if early.returncode == 0 else _node(cluster, "replace", "m1", "m4", "--dead", "--yes")
    assert "kubewright certs rotate-service-account" in done.stdout
    _settled(cluster, "m2", "m3", "m4")
    assert cluster.kubectl("get", "configmap", "kept").returncode == 0


@pytest.mark.soak
def test_a_node_rests_and_returns(cluster: Cluster) -> None:
    _node(cluster, "isolate", "w2")
    node = json.loads(cluster.kubectl("get", "node", "w2", "-o", "json").stdout)
    assert node["spec"]["unschedulable"]
    assert "nothing to change" in cluster.kubewright("apply").stdout
    _node(cluster, "recover", "w2")
    node = json.loads(cluster.kubectl("get", "node", "w2", "-o", "json").stdout)
    assert "unschedulable" not in node["spec"]


@pytest.mark.soak
def test_a_killed_removal_is_completed_by_the_same_command(cluster: Cluster) -> None:
    command = [KUBEWRIGHT, "node", "remove", "w2", "--yes", "-i", str(cluster.inventory)]
    for seconds in (5, 10, 20):
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            time.sleep(seconds)
            process.kill()
    done = _node(cluster, "remove", "w2", "--yes", check=False)
    assert done.returncode == 0 or "no such host (w2)" in done.stderr
    _settled(cluster, "m2", "m3", "m4")
    assert cluster.ssh("w2", "ls /etc/kubernetes /opt/kubewright", check=False).returncode != 0
    _add(cluster, "w2")
    _node(cluster, "add", "w2")
    _settled(cluster, "m2", "m3", "m4")


@pytest.mark.soak
def test_masters_leave_and_return_under_load_and_no_request_fails(cluster: Cluster, test_image: str) -> None:
    """Three to one and back; with one master left, its apiserver does not restart."""
    import_test_image(cluster)
    workloads = Workloads(cluster=cluster, plan=make_plan(load(cluster.inventory)), image=test_image)
    workloads.deploy()
    load_ = Load(workloads, "members")
    with load_.running():
        _node(cluster, "remove", "m3", "m4", "--yes")
        _add(cluster, "m3", "m4")
        _node(cluster, "add")
        sent = load_.probes.sent
        until("some more requests were sent", lambda: load_.probes.sent > sent + 50, 60)
    print(load_)
    lost = load_.lost()
    load_.clean()
    assert not lost
    assert not load_.failures
    _settled(cluster, "m2", "m3", "m4")
