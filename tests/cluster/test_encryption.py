"""Secrets in etcd: encrypted with one key at a time, which can be replaced."""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
from collections.abc import Iterator

import pytest
from nacl.exceptions import CryptoError
from nacl.secret import SecretBox

from kubewright.model.build import make_plan
from kubewright.spec import load
from pki import encryption
from pki.stages import Stage
from pki.store import Store
from tests.cluster.conftest import KUBEWRIGHT, Cluster, Done, kubewright

pytestmark = pytest.mark.cluster

SENTINEL = "STORED-SENTINEL-4711"
MANY = 200
FORMS = (SENTINEL, base64.b64encode(SENTINEL.encode()).decode().rstrip("="))
ETCDCTL = (
    "etcdctl --endpoints=https://127.0.0.1:2379 --cacert=/etc/etcd/pki/ca.crt "
    "--cert=/etc/etcd/pki/root.crt --key=/etc/etcd/pki/root.key"
)
STAGE = re.compile(r"^stage (\w+)$", re.MULTILINE)


@pytest.fixture(scope="module")
def secret(cluster: Cluster) -> Iterator[str]:
    """A Secret with a recognisable value, among many; half of them are immutable."""
    cluster.kubectl("create", "secret", "generic", "stored", f"--from-literal=password={SENTINEL}")
    labels = {"test": "stored"}
    items = [
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": f"stored-{n}", "labels": labels}, "immutable": n % 2 == 0}
        for n in range(MANY)
    ]
    cluster.kubectl("create", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))
    yield "default/stored"
    cluster.kubectl("delete", "secret", "stored")
    cluster.kubectl("delete", "secret", "-l", "test=stored", "--wait=false")


def _encryption(cluster: Cluster, verb: str, *arguments: str, check: bool = True) -> Done:
    return kubewright("encryption", verb, "-i", str(cluster.inventory), *arguments, check=check)


def _keys(cluster: Cluster) -> dict[str, bytes]:
    return {name: base64.b64decode(key) for name, key in encryption.keys(Store(cluster.inventory)).items()}


def _members(cluster: Cluster) -> list[str]:
    return [node.name for node in make_plan(load(cluster.inventory)).etcd_members]


def _values(cluster: Cluster) -> dict[str, bytes]:
    """Every Secret's raw value in etcd."""
    said = cluster.ssh(_members(cluster)[0], f"{ETCDCTL} get /registry/secrets/ --prefix -w json").stdout
    rows = json.loads(said)["kvs"]
    return {
        base64.b64decode(row["key"]).decode().removeprefix("/registry/secrets/"): base64.b64decode(row["value"]) for row in rows
    }


def _opened(value: bytes, key: bytes) -> bytes:
    """A decrypted secretbox value; CryptoError with another key."""
    _, _, box = value.removeprefix(encryption.PREFIX.encode()).partition(b":")
    return SecretBox(key).decrypt(box)


def _names(values: dict[str, bytes]) -> set[str]:
    """The names of the keys in the values' prefixes."""
    found = (re.match(encryption.PREFIX.encode() + rb"([^:]*):", value) for value in values.values())
    return {match[1].decode() if match else "none" for match in found}


def _password(cluster: Cluster) -> str:
    said = cluster.kubectl("get", "secret", "stored", "-o", "jsonpath={.data.password}").stdout
    return base64.b64decode(said).decode()


def test_a_secrets_value_is_nowhere_in_etcds_files(cluster: Cluster, secret: str) -> None:
    cluster.kubectl("create", "configmap", "not-encrypted", f"--from-literal=key=PLAIN-{SENTINEL[::-1]}")
    try:
        patterns = " ".join(f"-e {form}" for form in FORMS)
        for host in _members(cluster):
            files = "/var/lib/etcd/member/snap/db /var/lib/etcd/member/wal/*.wal"
            assert cluster.ssh(host, f"cat {files} | grep -caF {patterns}", check=False).stdout.strip() == "0", host
            plain = cluster.ssh(host, f"cat {files} | grep -cF -a -e PLAIN-{SENTINEL[::-1]}", check=False).stdout.strip()
            assert plain != "0", "the search does not even find what is not encrypted"
    finally:
        cluster.kubectl("delete", "configmap", "not-encrypted")
    values = _values(cluster)
    ((name, key),) = _keys(cluster).items()
    assert _names(values) == {name}
    assert SENTINEL.encode() in _opened(values[secret], key)
    assert _password(cluster) == SENTINEL


def test_status_counts_secrets_by_their_key(cluster: Cluster, secret: str) -> None:
    done = _encryption(cluster, "status", "--json")
    said = json.loads(done.stdout)
    assert said["settled"] and said["stage"] == "settled"
    assert said["secrets"] == {said["providers"][0]: len(_values(cluster))}
    assert secret in _values(cluster)


@pytest.mark.usefixtures("secret")
@pytest.mark.soak
def test_after_a_rotation_killed_in_every_stage_secrets_are_under_the_new_key_and_the_old_opens_none(
    cluster: Cluster,
) -> None:
    ((old_name, old),) = _keys(cluster).items()
    for stage in (Stage.INTRODUCED, Stage.SWITCHED, Stage.RETIRED):
        _killed_at(cluster, stage)
        attention = _encryption(cluster, "status", "--json", check=False)
        assert attention.returncode == 2
        assert json.loads(attention.stdout)["stage"] == stage
        assert _password(cluster) == SENTINEL
    done = _encryption(cluster, "rotate")
    assert STAGE.findall(done.stdout) == ["retired"], "no second rotation is begun"
    ((new_name, new),) = _keys(cluster).items()
    assert new_name != old_name and new != old
    values = _values(cluster)
    assert _names(values) == {new_name}
    assert len(values) > MANY
    for name, value in values.items():
        with pytest.raises(CryptoError):
            _opened(value, old)
        assert _opened(value, new), name
    print(f"{len(values)} Secrets: all open with {new_name}, none with {old_name}")
    assert _password(cluster) == SENTINEL
    old_text = base64.b64encode(old).decode()
    for host in _members(cluster):
        document = cluster.ssh(host, f"cat {encryption.PATH}").stdout
        assert old_text not in document and new_name in document
    assert not [p for p in cluster.inventory.rglob("*") if p.is_file() and old_text in p.read_text(errors="replace")]
    _encryption(cluster, "status")
    assert "nothing to change" in cluster.kubewright("apply").stdout


def _killed_at(cluster: Cluster, stage: Stage) -> None:
    """`rotate`, killed as soon as it prints `stage`."""
    command = [KUBEWRIGHT, "encryption", "rotate", "-i", str(cluster.inventory)]
    # Unbuffered output, so that lines come at once.
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    assert process.stdout is not None
    for line in process.stdout:
        if line.strip() == f"stage {stage}":
            break
    process.kill()
    process.wait()
