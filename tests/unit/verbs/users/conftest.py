"""A cluster in memory, an inventory with an authority, and a new person."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from kubewright.errors import Failed
from kubewright.spec import ClusterSpec, load
from kubewright.verbs.users.cluster import Cluster
from kubewright.verbs.users.credential import Credential, Object
from kubewright.verbs.users.manifests import owner
from kubewright.verbs.users.removal import Removal
from kubewright.verbs.users.wanted import Wanted
from pki import certificates, keys
from pki.authorities import KUBERNETES, SERVICE_ACCOUNT
from pki.store import Store

SPEC = """
name: prod
api: {extra_sans: ["*.example.org", api.example.org]}
hosts:
  - {name: m1, address: 192.0.2.11, roles: [master]}
  - {name: m2, address: 192.0.2.12, roles: [master]}
  - {name: m3, address: 192.0.2.13, roles: [master]}
"""
ALICE = Wanted(name="alice", groups=("devs",), grants=(("team-a", "edit"), ("team-b", "view")), days=7)
EXPIRES = "2027-01-01T00:00:00Z"


@dataclass
class FakeCluster(Cluster):
    """Keeps created objects. `fails_at` is the method that fails; `stubborn` apiservers never apply a change."""

    spec: ClusterSpec
    objects: list[Object] = field(default_factory=list)
    spaces: set[str] = field(default_factory=lambda: {"team-a", "team-b", "default"})
    fails_at: str = ""
    silent: frozenset[str] = frozenset()
    stubborn: frozenset[str] = frozenset()
    reviewed: list[Object] = field(default_factory=list)

    def everything(self) -> list[Object]:
        return list(self.objects)

    def belongings(self) -> list[Object]:
        return [item for item in self.objects if owner(item)]

    def namespaces(self) -> frozenset[str]:
        return frozenset(self.spaces)

    def create(self, objects: Sequence[Object]) -> None:
        self._may("create")
        for item in objects:
            if item["kind"] == "Namespace":
                self.spaces.add(item["metadata"]["name"])
            else:
                self.objects.append(item)

    def remove(self, due: Removal) -> None:
        self._may("remove")
        gone = [self._key(item) for item in (*due.delete, *due.replace)]
        self.objects = [item for item in self.objects if self._key(item) not in gone] + list(due.replace)

    def token(self, credential: Credential, *, days: int) -> tuple[str, str]:
        self._may("token")
        assert any(item["metadata"]["name"] == credential.account for item in self.objects)
        return "a.bound.token", EXPIRES

    def allowed(self, address: object, reviews: Sequence[Object]) -> Sequence[str] | None:
        self.reviewed += reviews
        if str(address) in self.silent:
            return None
        return ["impersonate users alice"] if str(address) in self.stubborn else []

    def _may(self, what: str) -> None:
        if self.fails_at == what:
            raise Failed(f"kubectl {what}: no")

    @staticmethod
    def _key(item: Object) -> tuple[str, ...]:
        return item["kind"], item["metadata"].get("namespace", ""), item["metadata"]["name"]


@pytest.fixture
def inventory(tmp_path: Path) -> Path:
    """With a kubernetes authority and a key for service accounts in its store."""
    (tmp_path / "cluster.yaml").write_text(SPEC)
    key = keys.generate("ecdsa-p256")
    made = certificates.self_signed(KUBERNETES.common_name, key, days=3650, now=dt.datetime.now(dt.UTC))
    pair = (keys.public_pem(key), keys.to_pem(key))
    Store(tmp_path).add({KUBERNETES.name: (certificates.to_pem(made), keys.to_pem(key)), SERVICE_ACCOUNT: pair})
    return tmp_path


@pytest.fixture
def cluster(inventory: Path) -> FakeCluster:
    return FakeCluster(load(inventory))
