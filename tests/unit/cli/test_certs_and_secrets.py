"""`kubewright certs` and `secrets` from the command line: exit codes, JSON, and commands that need no vault password."""

from __future__ import annotations

import datetime as dt
import json
import subprocess
import sys
from pathlib import Path

import pytest

from kubewright.model.build import make_plan
from kubewright.spec import load
from pki.store import PRIVATE
from tests.support.scenarios import filled_store

SPEC = """\
name: prod
secrets: {password_file: pw}
hosts:
  - {name: m1, address: 192.0.2.11, roles: [master]}
  - {name: w1, address: 192.0.2.12, roles: [worker]}
"""


def _run(verb: str, *arguments: str, inventory: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "kubewright", *verb.split(), "-i", str(inventory), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, start_new_session=True)


@pytest.fixture
def inventory(tmp_path: Path) -> Path:
    (tmp_path / "cluster.yaml").write_text(SPEC)
    (tmp_path / "pw").write_text("one")
    (tmp_path / "pw").chmod(0o600)
    filled_store(make_plan(load(tmp_path)), tmp_path, dt.datetime.now(dt.UTC))
    return tmp_path


def test_status_names_the_places_and_restarts_of_every_certificate(inventory: Path) -> None:
    done = _run("certs status", "--json", inventory=inventory)
    assert (done.returncode, done.stderr) == (0, "")
    found = {row["name"]: row for row in json.loads(done.stdout)["certificates"]}
    server = found["kubelet-server/w1"]
    assert server["uses"] == [{"host": "w1", "path": "/etc/kubernetes/pki/kubelet-server.crt", "restarts": ["kubelet.service"]}]
    assert (server["issuer"], server["days_left"], server["serves"]) == ("CN=kubernetes-ca", 364, None)
    assert {(u["host"], u["path"]) for u in found["ca/kubernetes"]["uses"]} == {
        (host, "/etc/kubernetes/pki/ca.crt") for host in ("m1", "w1")
    }
    assert all(row["uses"] for row in found.values()), "no certificate is of no use"
    assert "PRIVATE" not in done.stdout


def test_status_is_attention_when_something_expires_within_the_threshold(inventory: Path) -> None:
    done = _run("certs status", "--days", "400", inventory=inventory)
    assert done.returncode == 2
    assert "with less than 400 days left" in done.stdout
    assert _run("certs status", "--days", "300", inventory=inventory).returncode == 0


def test_certificates_of_a_removed_host_are_listed_separately_without_attention(inventory: Path) -> None:
    spec = inventory / "cluster.yaml"
    spec.write_text("\n".join(line for line in SPEC.splitlines() if "w1" not in line) + "\n")
    done = _run("certs status", "--json", inventory=inventory)
    found = json.loads(done.stdout)
    assert done.returncode == 0
    assert not [row["name"] for row in found["certificates"] if row["name"].endswith("/w1")]
    assert "kubelet-client/w1" in [row["name"] for row in found["of_gone_hosts"]]
    text = _run("certs status", inventory=inventory).stdout
    assert "4 certificates of hosts or roles that are not in cluster.yaml any more (w1) are valid until" in text
    assert "no revocation list" in text


def test_the_store_is_encrypted_gets_another_password_and_is_decrypted(inventory: Path) -> None:
    plain = (inventory / PRIVATE).read_bytes()
    (inventory / "admin.kubeconfig").write_text("a key")
    done = _run("secrets encrypt", inventory=inventory)
    assert done.returncode == 0, done.stderr
    assert (inventory / PRIVATE).read_text().startswith("$ANSIBLE_VAULT;")
    assert not (inventory / "admin.kubeconfig").exists()
    (inventory / "new").write_text("two")
    (inventory / "new").chmod(0o600)
    done = _run("secrets rekey", "--new-password-file", str(inventory / "new"), inventory=inventory)
    assert done.returncode == 0, done.stderr
    assert "still has the old one" in done.stdout

    refused = _run("secrets decrypt", inventory=inventory)
    assert (refused.returncode, "password is wrong" in refused.stderr) == (1, True)
    (inventory / "new").rename(inventory / "pw")
    printed = _run("secrets kubeconfig", inventory=inventory)
    assert "client-key-data" in printed.stdout
    assert _run("secrets decrypt", inventory=inventory).returncode == 0
    assert json.loads((inventory / PRIVATE).read_bytes()) == json.loads(plain)


def test_commands_that_read_only_the_index_need_no_password(inventory: Path) -> None:
    assert _run("secrets encrypt", inventory=inventory).returncode == 0
    (inventory / "pw").unlink()
    for verb in ("validate", "certs status"):
        done = _run(verb, inventory=inventory)
        assert (done.returncode, done.stderr) == (0, ""), verb
    asked = _run("secrets decrypt", inventory=inventory)
    assert (asked.returncode, "no such file" in asked.stderr) == (3, True)
