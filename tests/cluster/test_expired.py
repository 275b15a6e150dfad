"""Every certificate has expired, and every program was restarted since. Only SSH works."""

from __future__ import annotations

import datetime as dt
import io
import json
import subprocess
import tarfile
from functools import partial

import pytest

from kubewright.model.build import make_plan
from kubewright.model.certificates import ROWS, leaves
from kubewright.model.cluster import Node
from kubewright.spec import load
from pki import certificates, keys
from pki.store import Store
from tests.cluster.conftest import KUBEWRIGHT, Cluster, kubewright
from tests.cluster.waiting import until

pytestmark = pytest.mark.cluster

MINUTE = dt.timedelta(minutes=1)
UNITS = "etcd kube-apiserver kube-controller-manager kube-scheduler kubelet kube-proxy flanneld"


@pytest.fixture(scope="module")
def expired(three_masters: Cluster) -> Cluster:
    """A cluster with data, whose every leaf expired a minute ago, and whose every unit was restarted."""
    three_masters.kubectl("create", "configmap", "written-before", "--from-literal=word=swordfish")
    _expire(three_masters)
    return three_masters


def _expire(cluster: Cluster) -> None:
    plan, store, now = make_plan(load(cluster.inventory)), Store(cluster.inventory), dt.datetime.now(dt.UTC)
    signers = {
        name: (certificates.from_pem(store.certificate(name)), keys.from_pem(store.key(name)))
        for name in {leaf.authority for leaf in leaves(plan)}
    }
    ended = {}
    for leaf in leaves(plan):
        key = keys.generate("ecdsa-p256")
        made = certificates.signed(leaf.subject, key, *signers[leaf.authority], lifetime=59 * MINUTE, now=now - 60 * MINUTE)
        ended[leaf.name] = (certificates.to_pem(made), keys.to_pem(key))
    with store.locked():
        store.change(add=ended)
    for node in plan.nodes:
        _put(cluster, node, _files(node, ended))
    for node in plan.nodes:
        cluster.ssh(node.name, f"systemctl restart --no-block {UNITS}")


def _files(node: Node, ended: dict[str, tuple[bytes, bytes]]) -> bytes:
    """The node's certificates and keys, as a tar with their owners."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for row in (row for row in ROWS.values() if row.on(node)):
            for suffix, content, mode in zip(("crt", "key"), ended[row.stored(node)], (0o644, 0o600), strict=True):
                info = tarfile.TarInfo(f"{row.path}.{suffix}".lstrip("/"))
                info.size, info.mode, info.uname, info.gname = len(content), mode, row.owner, row.owner
                tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def _put(cluster: Cluster, node: Node, content: bytes) -> None:
    command = [KUBEWRIGHT, "lab", "ssh", "--name", cluster.lab_name, node.name, "--", "tar -xpf - -C / --overwrite"]
    subprocess.run(command, input=content, capture_output=True, check=True, timeout=60)


def _fails(cluster: Cluster, host: str, command: str) -> bool:
    return cluster.ssh(host, command, check=False).returncode != 0


def _certs(cluster: Cluster, verb: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return kubewright("certs", verb, "-i", str(cluster.inventory), *arguments, check=False)


def test_nothing_authenticates(expired: Cluster) -> None:
    """etcd keeps its open connections; new ones are refused."""
    address = "https://127.0.0.1:6443/api"
    curl = f"cd /etc/kubernetes/pki && curl -sS -m 5 --cacert ca.crt --cert admin.crt --key admin.key {address}"
    for host in ("m1", "m2", "m3"):
        until("the API refuses its administrator", partial(_fails, expired, host, curl), 60)
    assert expired.kubectl("get", "nodes", check=False).returncode != 0


def test_status_and_verify_report_the_expiry_first(expired: Cluster) -> None:
    said = _certs(expired, "status", "--json")
    assert said.returncode == 2
    ended = [c for c in json.loads(said.stdout)["certificates"] if c["days_left"] < 0]
    assert len(ended) == len(leaves(make_plan(load(expired.inventory))))
    verified = expired.kubewright("verify", "--json", check=False)
    assert verified.returncode == 1
    first = json.loads(verified.stdout)[: len(ended)]
    assert {line["role"] for line in first} == {"certificates"}
    assert "kubewright certs renew" in first[0]["message"]


def test_renew_restores_the_cluster_over_ssh_alone_with_all_data(expired: Cluster) -> None:
    authorities = {name: row for name, row in Store(expired.inventory).entries.items() if name.startswith("ca/")}
    done = _certs(expired, "renew")
    print(done.stdout[-3000:])
    assert done.returncode == 0, done.stdout + done.stderr
    expired.verified()
    word = expired.kubectl("get", "configmap", "written-before", "-o", "jsonpath={.data.word}")
    assert word.stdout == "swordfish"
    assert {name: row for name, row in Store(expired.inventory).entries.items() if name.startswith("ca/")} == authorities
    assert _certs(expired, "status").returncode == 0
    assert "nothing to change" in expired.kubewright("apply").stdout
