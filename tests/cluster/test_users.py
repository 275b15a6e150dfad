"""People: the rights of their kubeconfigs, and the end of access on every master after a revoke."""

from __future__ import annotations

import base64
import datetime as dt
import json
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from kubewright.artifacts import SourceConfig, obtain_all
from kubewright.artifacts.gomod import machine_arch
from kubewright.model.build import make_plan
from kubewright.releases import DEFAULT
from kubewright.spec import load
from pki import certificates, keys
from pki.identities import Identity
from tests.cluster.conftest import Cluster, Done, kubewright, run
from tests.cluster.identities import Issuer
from tests.cluster.reach import ask, on
from tests.cluster.waiting import until

pytestmark = pytest.mark.cluster

EDITED, SEEN, GROUPS = "kw-people-edited", "kw-people-seen", "kw-people-groups"
TESTERS = "kw-testers"
TOKEN_CACHE_SECONDS = 30
"""An apiserver caches a valid token for ten seconds [apiserver: TokenSuccessCacheTTL]."""


@dataclass(frozen=True, kw_only=True)
class People:
    """The users of one test, and their kubeconfigs."""

    cluster: Cluster
    folder: Path
    kubectl: str

    def user(self, *words: str, check: bool = True) -> Done:
        """`kubewright user`; its output never has a private key or token."""
        done = kubewright("user", *words, "--inventory", str(self.cluster.inventory), check=check)
        assert "PRIVATE KEY" not in done.stdout + done.stderr and "eyJ" not in done.stdout + done.stderr
        return done

    def add(self, name: str, *words: str, file: str = "") -> Path:
        path = self.folder / (file or f"{name}.kubeconfig")
        self.user("add", name, *words, "--output", str(path))
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        return path

    def ask(self, config: Path, *words: str) -> Done:
        """kubectl on this machine with a person's kubeconfig."""
        cache = f"--cache-dir={self.folder}/cache"
        with on(self.cluster.lab):
            return run(self.kubectl, f"--kubeconfig={config}", cache, *words, check=False)

    def may(self, config: Path, *words: str) -> bool:
        """Whether it succeeds; AssertionError when it fails for another reason than missing rights."""
        done = self.ask(config, *words)
        refused = any(word in done.stderr.lower() for word in ("forbidden", "unauthorized", "you must be logged in"))
        assert done.returncode == 0 or refused, f"{words}: {done.stdout}{done.stderr}"
        return done.returncode == 0

    def row(self, name: str) -> dict[str, Any]:
        """The newest line of `user list` for `name`."""
        rows = json.loads(self.user("list", "--json", check=False).stdout)
        return next(row for row in reversed(rows) if row["name"] == name)


_NAMESPACES = f"""
apiVersion: v1
kind: List
items:
- {{apiVersion: v1, kind: Namespace, metadata: {{name: {EDITED}}}}}
- {{apiVersion: v1, kind: Namespace, metadata: {{name: {SEEN}}}}}
- {{apiVersion: v1, kind: Namespace, metadata: {{name: {GROUPS}}}}}
- apiVersion: rbac.authorization.k8s.io/v1
  kind: RoleBinding
  metadata: {{name: {TESTERS}, namespace: {GROUPS}}}
  roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: view}}
  subjects: [{{apiGroup: rbac.authorization.k8s.io, kind: Group, name: {TESTERS}}}]
"""


@pytest.fixture(scope="module")
def namespaces(cluster: Cluster) -> Iterator[None]:
    """Three; a group may read in one of them."""
    names = (EDITED, SEEN, GROUPS)
    cluster.kubectl("delete", "namespace", *names, "--ignore-not-found", "--timeout=120s")
    cluster.kubectl("apply", "-f", "-", stdin=_NAMESPACES)
    yield
    cluster.kubectl("delete", "namespace", *names, "--wait=false")


@pytest.fixture
def people(cluster: Cluster, namespaces: None, tmp_path: Path) -> People:
    """No user of an earlier test is left."""
    kubectl = str(obtain_all(DEFAULT, machine_arch(), SourceConfig(), print).binary("kubectl").path)
    found = People(cluster=cluster, folder=tmp_path, kubectl=kubectl)
    for row in json.loads(found.user("list", "--json", check=False).stdout):
        if row["name"].startswith("kw-") and row["state"] not in ("revoked", "unbound"):
            found.user("revoke", row["name"])
    return found


GRANTS = ("--namespace", f"{EDITED}:edit", "--namespace", SEEN, "--group", TESTERS)
DONE = (
    ("get", "pods", "-n", EDITED),
    ("create", "configmap", "made", "-n", EDITED, "--dry-run=server"),
    ("get", "pods", "-n", SEEN),
    ("get", "pods", "-n", GROUPS),
)
REFUSED = (
    ("create", "configmap", "made", "-n", SEEN, "--dry-run=server"),
    ("create", "configmap", "made", "-n", GROUPS, "--dry-run=server"),
    ("get", "secrets", "-n", SEEN),
    ("get", "pods", "-n", "default"),
    ("get", "secrets", "-n", "kube-system"),
    ("get", "nodes"),
    ("get", "namespaces"),
    ("create", "rolebinding", "more", "-n", EDITED, "--clusterrole=admin", "--user=kw-alice", "--dry-run=server"),
    ("get", "nodes", "--as=kubernetes-admin"),
    ("get", "nodes", "--as=kw-alice", "--as-group=system:masters"),
    ("get", "nodes", "--as=kw-alice", "--as-group=kubeadm:cluster-admins"),
)


def _allowed(people: People, config: Path) -> list[tuple[str, ...]]:
    return [words for words in (*DONE, *REFUSED) if people.may(config, *words)]


def _dead(people: People, config: Path) -> None:
    """Nothing is allowed any more, through any master."""
    for master in make_plan(load(people.cluster.inventory)).masters:
        server = f"--server=https://{master.address}:6443"
        assert [words for words in DONE if people.may(config, server, *words)] == [], master.name


def _inside(config: Path) -> dict[str, Any]:
    return dict(YAML(typ="safe").load(config.read_text()))


def _identity(config: Path) -> Identity:
    (user,) = _inside(config)["users"]
    inside = {key: base64.b64decode(user["user"][key]) for key in ("client-certificate-data", "client-key-data")}
    return Identity(title="alice", certificate=inside["client-certificate-data"], key=inside["client-key-data"])


@pytest.mark.parametrize("kind", [(), ("--token",)], ids=["certificate", "token"])
def test_a_user_has_the_rights_of_the_roles_and_none_once_revoked(people: People, kind: tuple[str, ...]) -> None:
    config = people.add("kw-alice", *GRANTS, "--days", "7", *kind)
    assert _allowed(people, config) == list(DONE)
    who = json.loads(people.ask(config, "auth", "whoami", "-o", "json").stdout)["status"]["userInfo"]
    assert (who["username"], sorted(who["groups"])) == ("kw-alice", [TESTERS, "system:authenticated"])

    contexts = {context["name"]: context["context"]["namespace"] for context in _inside(config)["contexts"]}
    cluster_name = load(people.cluster.inventory).name
    assert contexts == {f"{EDITED}@{cluster_name}": EDITED, f"{SEEN}@{cluster_name}": SEEN}
    row = people.row("kw-alice")
    assert (row["state"], row["groups"]) == ("active", [TESTERS])
    assert [tuple(grant) for grant in row["grants"]] == [(EDITED, "edit"), (SEEN, "view")]
    left = dt.datetime.fromisoformat(row["expires"]) - dt.datetime.now(dt.UTC)
    assert dt.timedelta(days=6, hours=23) < left <= dt.timedelta(days=7)

    said = people.user("revoke", "kw-alice").stdout
    masters = [master.name for master in make_plan(load(people.cluster.inventory)).masters]
    assert f"refused by {', '.join(masters)}" in said
    _dead(people, config)
    assert people.row("kw-alice")["state"] == "revoked"
    if kind:
        # Its service account is deleted: the token is not valid any more.
        until("the token is nobody's", lambda: _unknown(people, config), TOKEN_CACHE_SECONDS)

    # The same name again is another credential, and gives the old one no rights.
    again = people.add("kw-alice", *GRANTS, *kind, file="again.kubeconfig")
    assert _allowed(people, again) == list(DONE)
    _dead(people, config)
    people.user("revoke", "kw-alice")
    _dead(people, again)
    people.user("revoke", "kw-alice")
    print(f"{len(DONE)} of {len(DONE)} allowed, {len(REFUSED)} refused; revoked: {len(DONE)} refused by {len(masters)} masters")


def _unknown(people: People, config: Path) -> bool:
    said = people.ask(config, "get", "pods", "-n", EDITED).stderr.lower()
    return "unauthorized" in said or "you must be logged in" in said


def test_a_certificate_has_the_requested_name_and_expiry(people: People) -> None:
    config = people.add("kw-alice", *GRANTS, "--days", "7")
    identity, issuer = _identity(config), Issuer(people.cluster.inventory)
    certificate = certificates.from_pem(identity.certificate)
    said = certificates.subject_of(certificate)
    # It has no group, since a certificate cannot be revoked.
    assert said.common_name.startswith("kubewright:kw-alice:") and said.organizations == () and said.usages == ("client",)
    assert certificate.not_valid_after_utc - dt.datetime.now(dt.UTC) <= dt.timedelta(days=7)
    certificate.verify_directly_issued_by(certificates.from_pem(issuer.authority("ca/kubernetes")))

    def status(path: str) -> int:
        address = make_plan(load(people.cluster.inventory)).masters[0].address
        with on(people.cluster.lab):
            return ask(address, 6443, path, authority=issuer.authority("ca/kubernetes"), identity=identity).status

    # Clients without support for impersonation have the rights in namespaces, not the group's.
    paths = [f"/api/v1/namespaces/{namespace}/pods" for namespace in (EDITED, SEEN, GROUPS, "default")]
    assert [status(path) for path in paths] == [200, 200, 403, 403]
    people.user("revoke", "kw-alice")
    assert [status(path) for path in paths] == [403, 403, 403, 403]
    # The certificate is still valid: RBAC gives every authenticated client the API's discovery, and nothing else.
    assert status("/version") == 200
    key = identity.key.decode()
    for file in people.cluster.inventory.rglob("*"):
        assert not file.is_file() or key not in file.read_text(errors="replace"), f"the key is in {file}"


def test_bindings_that_a_namespace_admin_made_for_the_own_credential_are_removed_too(people: People) -> None:
    config = people.add("kw-alice", "--namespace", f"{EDITED}:admin")
    own = certificates.subject_of(certificates.from_pem(_identity(config).certificate)).common_name
    for name, users in (("mine", [own]), ("ours", [own, "kw-somebody"])):
        command = ("create", "rolebinding", name, "-n", EDITED, "--clusterrole=edit")
        assert people.may(config, *command, *(f"--user={user}" for user in users))
    assert people.may(config, "create", "rolebinding", "all", "-n", EDITED, "--clusterrole=view", "--group=system:authenticated")
    said = people.user("revoke", "kw-alice").stdout
    left = json.loads(people.cluster.kubectl("get", "rolebindings", "-n", EDITED, "-o", "json").stdout)["items"]
    subjects = {item["metadata"]["name"]: [s["name"] for s in item["subjects"]] for item in left}
    assert subjects == {"ours": ["kw-somebody"], "all": ["system:authenticated"]}
    assert f"RoleBinding {EDITED} all is for system:authenticated" in said
    assert not people.may(config, "create", "configmap", "made", "-n", EDITED, "--dry-run=server")
    people.cluster.kubectl("delete", "rolebinding", "-n", EDITED, "--all")


def test_rights_from_a_restored_etcd_are_reported_and_revoked_again(people: People) -> None:
    config = people.add("kw-alice", *GRANTS)
    # The content of a snapshot: all of her objects.
    selector = ("-l", "kubewright/user=kw-alice", "-A", "-o", "json")
    before = people.cluster.kubectl("get", "rolebindings,clusterroles,clusterrolebindings", *selector).stdout
    people.user("revoke", "kw-alice")
    _dead(people, config)
    people.cluster.kubectl("create", "-f", "-", stdin=before)
    until("she is let in again", lambda: _allowed(people, config) == list(DONE), 30)
    listed = people.user("list", check=False)
    assert listed.returncode == 2 and "kw-alice; revoke them again" in listed.stderr
    assert people.row("kw-alice")["state"] == "revived"
    people.user("revoke", "kw-alice")
    _dead(people, config)
    assert people.user("list").returncode == 0


def test_a_request_is_certified_without_its_key(people: People) -> None:
    key, request = people.folder / "kw-carol.key", people.folder / "kw-carol.csr"
    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256")
    run("openssl", "req", "-new", *curve, "-nodes", "-keyout", str(key), "-out", str(request), "-subj", "/O=system:masters/CN=x")
    config = people.add("kw-carol", "--namespace", SEEN, "--csr", str(request))
    assert "PRIVATE" not in config.read_text()
    (user,) = _inside(config)["users"]
    inside = certificates.from_pem(base64.b64decode(user["user"]["client-certificate-data"]))
    assert (
        keys.public_pem(keys.from_pem(key.read_bytes())).decode() in run("openssl", "req", "-in", str(request), "-pubkey").stdout
    )
    # The subject in the request is ignored.
    assert certificates.subject_of(inside).organizations == ()
    assert people.may(config, "get", "pods", "-n", SEEN)
    assert not people.may(config, "get", "pods", "-n", EDITED)
    people.user("revoke", "kw-carol")
    assert not people.may(config, "get", "pods", "-n", SEEN)


def test_a_failed_add_leaves_nothing(people: People) -> None:
    people.add("kw-alice", *GRANTS)
    output = people.folder / "refused.kubeconfig"
    words = ("--namespace", "kw-people-none", "--namespace", "kw-people-nothing", "--output", str(output))
    done = people.user("add", "kw-alice", *words, check=False)
    assert done.returncode == 3
    for said in ("kw-people-none", "kw-people-nothing", "--create-namespaces", "kubewright user revoke kw-alice"):
        assert said in done.stderr
    assert not output.exists()
    assert people.user("revoke", "kw-nobody", check=False).returncode == 3
    people.user("revoke", "kw-alice")
    people.add("kw-bob", "--namespace", "kw-people-none", "--create-namespaces")
    people.user("revoke", "kw-bob")
    people.cluster.kubectl("delete", "namespace", "kw-people-none", "--wait=false")
