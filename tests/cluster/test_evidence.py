"""The evidence of work in the cluster is in the cluster: `plan` names deleted objects, and `apply` creates them again."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.cluster.conftest import Cluster

pytestmark = pytest.mark.cluster

COREDNS = (
    ("serviceaccount/coredns", "configmap/coredns", "service/kube-dns"),
    ("deployment/coredns", "poddisruptionbudget/coredns", "clusterrole/system:coredns", "clusterrolebinding/system:coredns"),
)
KINDS = {
    "serviceaccount": "ServiceAccount",
    "configmap": "ConfigMap",
    "service": "Service",
    "deployment": "Deployment",
    "poddisruptionbudget": "PodDisruptionBudget",
    "clusterrole": "ClusterRole",
    "clusterrolebinding": "ClusterRoleBinding",
}
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


def _named(cluster: Cluster, *what: str) -> None:
    shown = cluster.kubewright("plan", check=False)
    assert shown.returncode == 2, shown.stdout + shown.stderr
    assert [each for each in what if each not in shown.stdout] == [], shown.stdout


def _title(resource: str) -> str:
    kind, _, name = resource.partition("/")
    return f"{KINDS[kind]} {'' if kind.startswith('cluster') else 'kube-system/'}{name}"


def _settled(cluster: Cluster) -> None:
    said = cluster.kubewright("plan", check=False)
    assert said.returncode == 0, said.stdout


@pytest.mark.soak
def test_deleted_objects_are_named_and_created_again(cluster: Cluster) -> None:
    first, second = COREDNS
    cluster.kubectl("-n", "kube-system", "delete", *first)
    _named(cluster, *map(_title, first))
    cluster.kubewright("apply")
    again = cluster.kubectl("-n", "kube-system", "get", "deployment", "coredns", "-o", "jsonpath={.spec.template.metadata}")
    assert "restartedAt" in again.stdout, "its pods had tokens of the service account that is gone"
    cluster.kubectl("-n", "kube-system", "delete", *second)
    cluster.kubectl("label", "node", "m2", f"{LABEL}-")
    cluster.kubectl("taint", "node", "m3", f"{LABEL}:NoSchedule-")
    cluster.ssh("m2", " && ".join(f"{ETCDCTL} {command}" for command, _ in IN_ETCD))
    here = (f"label {LABEL} of m2", f"taint {LABEL}:NoSchedule of m3", *(what for _, what in IN_ETCD))
    _named(cluster, *map(_title, second), *here)
    cluster.kubectl("delete", "clusterrolebinding", BINDING)
    _named(cluster, f"bind {BINDING} to cluster-admin")
    cluster.kubewright("apply")
    _settled(cluster)


FORMER = """
{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "%s", "namespace": "default",
 "labels": {"kubewright/task": "former"}, "annotations": {"kubewright/applied": "ab"}}}
"""


def test_an_object_that_no_task_wants_is_removed_and_a_copy_of_it_stays(cluster: Cluster) -> None:
    """About ten seconds."""
    cluster.kubectl("apply", "--server-side", "--field-manager=kubewright", "-f", "-", stdin=FORMER % "former")
    cluster.kubectl("apply", "-f", "-", stdin=FORMER % "copy")
    shown = cluster.kubewright("plan", check=False)
    assert shown.returncode == 2, shown.stdout + shown.stderr
    assert "remove ConfigMap default/former" in shown.stdout
    assert "default/copy" not in shown.stdout
    cluster.kubewright("apply")
    left = cluster.kubectl("get", "configmaps", "-n", "default", "-l", "kubewright/task", "-o", "name").stdout
    assert left.split() == ["configmap/copy"]
    _settled(cluster)
    cluster.kubectl("delete", "configmap", "-n", "default", "copy")


def test_a_label_and_a_taint_go_with_their_line_in_cluster_yaml(edited: Cluster) -> None:
    shown = "jsonpath={.metadata.labels.zone} {.spec.taints[*].key}"
    edited.kubewright("apply")
    assert edited.kubectl("get", "node", "w1", "-o", shown).stdout.strip() == "a dedicated"
    edited.kubectl("label", "node", "w1", "example.org/of-others=b")
    path = edited.inventory / "cluster.yaml"
    path.write_text(path.read_text().replace("labels: {zone: a}, taints: ['dedicated=gpu:NoSchedule'], ", ""))
    edited.kubewright("apply")
    assert edited.kubectl("get", "node", "w1", "-o", shown).stdout.strip() == ""
    # Labels and taints from elsewhere stay, and are no difference.
    assert "of-others:b" in edited.kubectl("get", "node", "w1", "-o", "go-template={{.metadata.labels}}").stdout
    _settled(edited)
    edited.kubectl("label", "node", "w1", "example.org/of-others-")
