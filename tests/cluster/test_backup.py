"""A backup on real hosts: taken, proved by a drill, restored over the live cluster and onto fresh hosts.

One host in CI, about five minutes; three masters that lose their quorum in soak, about eight.
Each lab's tests depend on each other, in this order.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from kubewright.model.lineage import FILE
from kubewright.observe.observed import ETCD_RESTORED
from tests.cluster.conftest import MASTERS, Cluster, kubewright, write_inventory
from tests.cluster.waiting import until

pytestmark = pytest.mark.cluster

LAB_NAME = "backup"
ONE = "hosts:\n  - {name: m1, address: 10.90.0.11, roles: [master, worker]}\n"
TIMER = "backup: {snapshots: hourly, keep: 2}\n"


def _cluster(folder: Path, hosts: str, *names: str) -> Iterator[Cluster]:
    kubewright("lab", "down", "--name", LAB_NAME)
    try:
        kubewright("lab", "up", "--name", LAB_NAME, "--hosts", ",".join(names))
        found = Cluster(inventory=write_inventory(folder / "inventory", LAB_NAME, hosts, TIMER), lab_name=LAB_NAME)
        found.kubewright("apply")
        (folder / "password").write_text("correct horse")
        (folder / "password").chmod(0o600)
        yield found
    finally:
        kubewright("lab", "down", "--name", LAB_NAME)


def _password(cluster: Cluster) -> tuple[str, str]:
    return "--password-file", str(cluster.inventory.parent / "password")


def _taken(cluster: Cluster) -> str:
    """A new backup's path."""
    cluster.kubewright("backup", *_password(cluster))
    return str(json.loads(cluster.kubewright("backup", "--list", "--json").stdout)[0]["path"])


def _secret(cluster: Cluster, name: str, check: bool = True) -> str:
    path = "jsonpath={.data.word}"
    return cluster.kubectl("get", "secret", name, "-o", path, "--request-timeout=10s", check=check).stdout


def _make(cluster: Cluster, name: str) -> None:
    cluster.kubectl("create", "secret", "generic", name, f"--from-literal=word={name}")


@pytest.fixture(scope="module")
def single(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    yield from _cluster(tmp_path_factory.mktemp("backup"), ONE, "m1")


@pytest.fixture(scope="module")
def before(single: Cluster) -> str:
    _make(single, "before")
    return _taken(single)


def test_a_drill_finds_the_objects_of_the_backup(single: Cluster, before: str) -> None:
    said = single.kubewright("backup", "--verify", before, *_password(single)).stdout
    assert "whole; lab, taken" in said
    said = single.kubewright("restore", before, "--drill", *_password(single)).stdout
    assert "objects of" in said and "the API serves" in said


def test_the_host_keeps_a_snapshot_by_its_timer(single: Cluster) -> None:
    assert single.ssh("m1", "systemctl is-active kubewright-snapshot.timer").stdout == "active\n"
    single.ssh("m1", "systemctl start kubewright-snapshot.service")
    assert single.ssh("m1", "stat -c '%a %U' /var/lib/etcd-snapshots/etcd-*.db").stdout == "600 root\n"


def test_a_live_cluster_is_replaced_only_when_it_is_said(single: Cluster, before: str) -> None:
    _make(single, "after")
    done = single.kubewright("restore", before, *_password(single), check=False)
    assert done.returncode == 3 and "the cluster is live" in done.stdout + done.stderr
    assert _secret(single, "after")
    single.kubewright("restore", before, "--replace-live", *_password(single))
    single.verified()
    assert _secret(single, "before") and not _secret(single, "after", check=False)
    assert single.ssh("m1", f"cut -d' ' -f1 {ETCD_RESTORED}").stdout == "lab@2\n"
    assert json.loads((single.inventory / FILE).read_text())["etcd_token"] == "lab@2"
    assert "nothing to change" in single.kubewright("apply").stdout
    # Controllers see changes: their caches are of the restored data.
    single.kubectl("create", "namespace", "fresh")
    until("a controller acts", lambda: "default" in single.kubectl("get", "serviceaccounts", "-n", "fresh").stdout, 60)


def test_an_empty_host_becomes_the_cluster_from_a_new_folder(single: Cluster, before: str) -> None:
    kubewright("lab", "rebuild", "--name", LAB_NAME, "m1")
    new = Cluster(inventory=write_inventory(single.inventory.parent / "new", LAB_NAME, ONE, TIMER), lab_name=LAB_NAME)
    words = ("--password-file", str(single.inventory.parent / "password"))
    new.kubewright("restore", before, *words)
    new.verified()
    assert _secret(new, "before") and not _secret(new, "after", check=False)
    assert "nothing to change" in new.kubewright("apply").stdout


# -- three masters


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    yield from _cluster(tmp_path_factory.mktemp("quorum"), MASTERS, "m1", "m2", "m3")


@pytest.mark.soak
def test_a_lost_quorum_is_restored_and_a_member_from_before_cannot_rejoin(three: Cluster) -> None:
    _make(three, "before")
    backup = _taken(three)
    for name in ("m2", "m3"):
        kubewright("lab", "rebuild", "--name", LAB_NAME, name)
    assert three.kubewright("apply", check=False).returncode == 1
    three.kubewright("restore", backup, *_password(three))
    three.verified()
    assert _secret(three, "before")
    assert three.ssh("m1", "ls -d /var/lib/etcd/before-lab@2").returncode == 0


@pytest.mark.soak
def test_a_member_with_the_data_from_before_is_named_and_its_writes_reach_nobody(three: Cluster) -> None:
    """m1 has its old data still: it gets it back, as from an old image of its disk."""
    three.ssh("m1", f"systemctl stop etcd && mv /var/lib/etcd/member /root/new && mv {ETCD_RESTORED} /root/")
    three.ssh("m1", "cp -a /var/lib/etcd/before-lab@2 /var/lib/etcd/member && sed -i s/lab@2/lab/ /etc/etcd/bootstrap.env")
    three.ssh("m1", "systemctl start --no-block etcd")
    done = three.kubewright("plan", check=False)
    assert done.returncode == 1 and "its etcd data is older than the restore" in done.stdout + done.stderr
    assert _secret(three, "before")
    three.ssh("m1", "systemctl stop etcd && rm -rf /var/lib/etcd/member && mv /root/new /var/lib/etcd/member")
    three.ssh("m1", f"mv /root/etcd-restored {ETCD_RESTORED} && sed -i 's/=lab$/=lab@2/' /etc/etcd/bootstrap.env")
    three.ssh("m1", "systemctl start etcd")
    three.verified()
