from __future__ import annotations

import base64
import datetime as dt
import stat
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from ruamel.yaml import YAML

from kubewright.errors import BadInput, Failed
from kubewright.model.build import make_plan
from kubewright.spec.workgroups import Workgroup
from kubewright.verbs.kubeconfig import kubeconfig, namespaces_of_admin
from kubewright.verbs.users import adding, record
from kubewright.verbs.users.credential import csr_problems
from kubewright.verbs.users.record import Issued
from pki import certificates, keys
from pki.store import Store
from tests.unit.verbs.users.conftest import ALICE, EXPIRES, FakeCluster


def _add(inventory: Path, cluster: FakeCluster, **changed: Any) -> tuple[Issued, dict[str, Any]]:
    given: dict[str, Any] = {"wanted": ALICE, "kind": "certificate", "csr": None, "create_namespaces": False, **changed}
    output = inventory / f"{given['wanted'].name}.kubeconfig"
    issued = adding.add(inventory, cluster, given.pop("wanted"), output, **given)
    assert stat.S_IMODE(output.stat().st_mode) == 0o600
    return issued, dict(YAML(typ="safe").load(output.read_text()))


def test_a_kubeconfig_has_a_context_for_each_namespace_and_the_apis_outside_name(inventory: Path, cluster: FakeCluster) -> None:
    _, config = _add(inventory, cluster)
    assert [(c["name"], c["context"]) for c in config["contexts"]] == [
        ("team-a@prod", {"cluster": "prod", "user": "alice", "namespace": "team-a"}),
        ("team-b@prod", {"cluster": "prod", "user": "alice", "namespace": "team-b"}),
    ]
    assert config["current-context"] == "team-a@prod"
    assert {c["name"]: c["cluster"]["server"] for c in config["clusters"]} == {
        "prod": "https://api.example.org:6443",
        "prod-m1": "https://192.0.2.11:6443",
        "prod-m2": "https://192.0.2.12:6443",
        "prod-m3": "https://192.0.2.13:6443",
    }


def test_without_a_namespace_there_is_one_context(inventory: Path, cluster: FakeCluster) -> None:
    _, config = _add(inventory, cluster, wanted=replace(ALICE, grants=()))
    assert [c["name"] for c in config["contexts"]] == ["alice@prod"]


def test_the_certificate_names_only_the_credential_and_has_the_requested_lifetime(inventory: Path, cluster: FakeCluster) -> None:
    issued, config = _add(inventory, cluster)
    user = config["users"][0]["user"]
    assert (user["as"], user["as-groups"]) == ("alice", ["devs"])
    certificate = certificates.from_pem(base64.b64decode(user["client-certificate-data"]))
    said = certificates.subject_of(certificate)
    assert (said.common_name, said.organizations, said.usages) == (f"kubewright:alice:{issued.id}", (), ("client",))
    key = keys.from_pem(base64.b64decode(user["client-key-data"]))
    assert key.public_key() == certificate.public_key()
    left = certificate.not_valid_after_utc - dt.datetime.now(dt.UTC)
    assert dt.timedelta(days=6, hours=23) < left <= dt.timedelta(days=7)
    assert issued.expires == f"{certificate.not_valid_after_utc:%Y-%m-%dT%H:%M:%SZ}"


def test_the_longest_name_fits_into_a_certificate(inventory: Path, cluster: FakeCluster) -> None:
    issued, _ = _add(inventory, cluster, wanted=replace(ALICE, name="a" * 40))
    assert len(certificates.subject_of(certificates.from_pem(issued.certificate.encode())).common_name) == 64


def test_the_record_holds_the_certificate_and_no_key(inventory: Path, cluster: FakeCluster) -> None:
    issued, config = _add(inventory, cluster)
    assert record.read(inventory) == (issued,)
    key = base64.b64decode(config["users"][0]["user"]["client-key-data"]).decode()
    for path in inventory.rglob("*"):
        assert not path.is_file() or key not in path.read_text()
    assert "CERTIFICATE" in (inventory / record.FILE).read_text()


def test_a_token_comes_from_its_own_service_account(inventory: Path, cluster: FakeCluster) -> None:
    issued, config = _add(inventory, cluster, kind="token")
    assert config["users"][0]["user"] == {"token": "a.bound.token", "as": "alice", "as-groups": ["devs"]}
    assert issued.expires == EXPIRES and issued.certificate == ""
    assert "kubewright-users" in cluster.spaces
    assert "a.bound.token" not in (inventory / record.FILE).read_text()


def _request(key: Any, digest: Any) -> bytes:
    name = x509.Name([x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, "system:masters")])
    made = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, digest)
    return made.public_bytes(serialization.Encoding.PEM)


def test_a_request_gives_its_key_only(inventory: Path, cluster: FakeCluster) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    issued, config = _add(inventory, cluster, csr=_request(key, hashes.SHA256()))
    user = config["users"][0]["user"]
    assert user["client-key"] == "alice.key" and "client-key-data" not in user
    certificate = certificates.from_pem(issued.certificate.encode())
    assert certificate.public_key() == key.public_key()
    assert certificates.subject_of(certificate).organizations == ()


def test_an_unusable_request_is_refused_with_the_reason() -> None:
    good = _request(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())
    assert csr_problems("--csr", good) == []
    der = bytearray(x509.load_pem_x509_csr(good).public_bytes(serialization.Encoding.DER))
    der[-1] ^= 1
    forged = b"-----BEGIN CERTIFICATE REQUEST-----\n" + base64.encodebytes(der) + b"-----END CERTIFICATE REQUEST-----\n"
    rows = {
        b"no request": "not a certificate signing request",
        forged: "does not verify",
        _request(ed25519.Ed25519PrivateKey.generate(), None): "its key is Ed25519PublicKey",
        _request(rsa.generate_private_key(65537, 1024), hashes.SHA256()): "its key is rsa-1024",  # noqa: S505
    }
    for pem, said in rows.items():
        (problem,) = csr_problems("--csr", pem)
        assert said in problem.what


def test_a_missing_namespace_and_a_taken_name_are_reported_together_and_change_nothing(
    inventory: Path, cluster: FakeCluster
) -> None:
    _add(inventory, cluster)
    before = list(cluster.objects)
    with pytest.raises(BadInput) as refused:
        adding.add(
            inventory,
            cluster,
            replace(ALICE, grants=(("none", "view"), ("nothing", "view"))),
            inventory / "again",
            kind="certificate",
            csr=None,
            create_namespaces=False,
        )
    assert [problem.what for problem in refused.value.problems] == [
        "not in the cluster (none)",
        "not in the cluster (nothing)",
        "has access already (alice)",
    ]
    assert cluster.objects == before and len(record.read(inventory)) == 1


def test_namespaces_are_made_on_request(inventory: Path, cluster: FakeCluster) -> None:
    _add(inventory, cluster, wanted=replace(ALICE, grants=(("new", "view"),)), create_namespaces=True)
    assert "new" in cluster.spaces


@pytest.mark.parametrize("kind", ["certificate", "token"])
def test_a_kubeconfig_is_written_only_when_it_works(inventory: Path, cluster: FakeCluster, kind: str) -> None:
    cluster.spaces.add("kubewright-users")
    cluster.fails_at = "create"
    with pytest.raises(Failed):
        _add(inventory, cluster, kind=kind, create_namespaces=True)
    assert not (inventory / "alice.kubeconfig").exists()


def test_an_authority_without_its_key_is_reported_before_the_cluster_is_changed(inventory: Path, cluster: FakeCluster) -> None:
    (inventory / "secrets/keys.json").unlink()
    with pytest.raises(Failed, match="private key of ca/kubernetes"):
        _add(inventory, cluster)
    assert cluster.objects == [] and record.read(inventory) == ()


def test_an_existing_file_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "there").write_text("")
    assert [p.what for p in adding.output_problems(tmp_path / "there")] == ["is there already"]
    assert "folder" in adding.output_problems(tmp_path / "none" / "file")[0].what
    assert adding.output_problems(tmp_path / "new") == []


_GROUPS = tuple(
    Workgroup.model_validate({"name": name, "people": people})
    for name, people in (("team-b", {"alice": "edit"}), ("team-c", {"alice": "view"}), ("team-d", {}))
)


def test_a_persons_workgroups_get_a_context_each_after_the_granted_namespaces(inventory: Path, cluster: FakeCluster) -> None:
    cluster.spec = cluster.spec.model_copy(update={"workgroups": _GROUPS})
    _, config = _add(inventory, cluster)
    assert [c["name"] for c in config["contexts"]] == ["team-a@prod", "team-b@prod", "team-c@prod"]
    _, config = _add(inventory, cluster, wanted=replace(ALICE, name="bob", grants=()))
    assert [c["name"] for c in config["contexts"]] == ["bob@prod"]


def test_the_administrators_kubeconfig_has_a_context_for_each_workgroup(inventory: Path, cluster: FakeCluster) -> None:
    plan = make_plan(cluster.spec.model_copy(update={"workgroups": _GROUPS}))
    config = YAML(typ="safe").load(kubeconfig(plan, Store(inventory), "kubernetes-admin", {}, namespaces_of_admin(plan)))
    assert [c["name"] for c in config["contexts"]] == ["kubernetes-admin@prod", "team-b@prod", "team-c@prod", "team-d@prod"]
    assert config["current-context"] == "kubernetes-admin@prod"
    assert "namespace" not in config["contexts"][0]["context"]
