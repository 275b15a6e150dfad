"""Whether something is done in the cluster is seen in the cluster: what is deleted there is named by `plan` and mended."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.cluster.conftest import Cluster

pytestmark = pytest.mark.cluster

COREDNS = (
    ("serviceaccount", "coredns", "ServiceAccount coredns"),
    ("configmap", "coredns", "ConfigMap coredns"),
    ("service", "kube-dns", "Service kube-dns"),
    ("deployment", "coredns", "Deployment coredns"),
    ("poddisruptionbudget", "coredns", "PodDisruptionBudget coredns"),
    ("clusterrole", "system:coredns", "ClusterRole system:coredns"),
)
LABEL = "node-role.kubernetes.io/control-plane"
ETCDCTL = (
    "etcdctl --endpoints=https://127.0.0.1:2379 --cacert=/etc/etcd/pki/ca.crt --cert=/etc/etcd/pki/root.crt "
    "--key=/etc/etcd/pki/root.key"
)
IN_ETCD = (
    ("user delete flannel", "etcd's user flannel with the role flannel"),
    ("role revoke-permission flannel --prefix=true /coreos.com/network/", "the right of etcd's role flannel"),
    ("del /coreos.com/network/config", "etcd's key /coreos.com/network/config"),
    ("auth disable", "etcd's authentication"),
)
BINDING = "kubeadm:cluster-admins"


@pytest.fixture
def edited(cluster: Cluster) -> Iterator[Cluster]:
    """`cluster`, whose first worker has a label and a taint of its own while the test runs."""
    path = cluster.inventory / "cluster.yaml"
    before = path.read_text()
    path.write_text(before.replace("{name: w1,", "{name: w1, labels: {zone: a}, taints: ['dedicated=gpu:NoSchedule'],"))
    yield cluster
    path.write_text(before)


def _named(cluster: Cluster, what: str) -> None:
    shown = cluster.kubewright("plan", check=False)
    assert shown.returncode == 2, shown.stdout + shown.stderr
    assert what in shown.stdout


def _settled(cluster: Cluster) -> None:
    assert cluster.kubewright("plan", check=False).returncode == 0
    assert "0 changes" in (said := cluster.kubewright("apply").stdout) or "nothing to change" in said, said


def test_what_is_deleted_in_the_cluster_is_named_and_mended(cluster: Cluster) -> None:
    for kind, name, what in COREDNS:
        cluster.kubectl("-n", "kube-system", "delete", kind, name, "--wait=false")
        _named(cluster, what)
    cluster.kubectl("label", "node", "m2", f"{LABEL}-")
    _named(cluster, f"label {LABEL} of m2")
    cluster.kubectl("taint", "node", "m3", f"{LABEL}:NoSchedule-")
    _named(cluster, f"taint {LABEL}:NoSchedule of m3")
    for command, what in IN_ETCD:
        cluster.ssh("m2", f"{ETCDCTL} {command}")
        _named(cluster, what)
    cluster.kubectl("delete", "clusterrolebinding", BINDING)
    _named(cluster, f"bind {BINDING} to cluster-admin")
    print(cluster.kubewright("apply").stdout)
    _settled(cluster)


def test_a_label_and_a_taint_go_with_their_line_in_cluster_yaml(edited: Cluster) -> None:
    shown = "jsonpath={.metadata.labels.zone} {.spec.taints[*].key}"
    edited.kubewright("apply")
    assert edited.kubectl("get", "node", "w1", "-o", shown).stdout.strip() == "a dedicated"
    _settled(edited)
    edited.kubectl("label", "node", "w1", "example.org/of-others=b")
    _settled(edited)
    path = edited.inventory / "cluster.yaml"
    path.write_text(path.read_text().replace("labels: {zone: a}, taints: ['dedicated=gpu:NoSchedule'], ", ""))
    edited.kubewright("apply")
    assert edited.kubectl("get", "node", "w1", "-o", shown).stdout.strip() == ""
    assert "of-others:b" in edited.kubectl("get", "node", "w1", "-o", "go-template={{.metadata.labels}}").stdout
    edited.kubectl("label", "node", "w1", "example.org/of-others-")
    _settled(edited)
