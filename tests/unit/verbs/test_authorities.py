"""A rotation of an authority or key: what it waits for in each stage, what it asks before the drop, and the way back."""

from __future__ import annotations

import base64
import dataclasses
import datetime as dt
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from kubewright.errors import Failed
from kubewright.model.build import make_plan
from kubewright.run.run import Run
from kubewright.run.session import Session
from kubewright.spec import load
from kubewright.verbs.apply import Summary
from kubewright.verbs.rotate import authorities, dependants, evidence
from kubewright.verbs.rotate.authorities import AuthorityRotation
from kubewright.verbs.rotate.dependants import OldPod
from kubewright.verbs.users import record, signers
from kubewright.verbs.users.record import Issued
from pki import certificates, keys, rotation
from pki.stages import Stage
from pki.store import Store
from tests.pki.brought import CHAIN, OURS
from tests.support.scenarios import filled_store

SPEC = "name: prod\nhosts:\n  - {name: m1, address: 192.0.2.11, roles: [master, worker]}\n"
POD = OldPod(namespace="default", name="web-1", owner="Deployment/web")
NOW = dt.datetime.now(dt.UTC)


@dataclass
class Cluster:
    """What the rotation did, in order; `pods` are old ones until they are restarted."""

    inventory: Path
    done: list[str] = field(default_factory=list)
    pods: list[OldPod] = field(default_factory=list)
    secrets: list[str] = field(default_factory=list)
    fails_at: str = ""

    def rotation(self, name: str, **options: Any) -> AuthorityRotation:
        session = Session(inventory=self.inventory, spec=load(self.inventory, rotating=name), roles=(), verb=f"rotate {name}")
        return AuthorityRotation(session=session, waves=(), name=name, **options)

    def apply(self, run: Run, _began: float) -> Summary:
        stage = rotation.stage(Store(self.inventory).entries, run.session.verb.removeprefix("rotate "))
        self.done.append(f"apply {stage}")
        failure = Failed("m1 does not answer") if self.done[-1] == self.fails_at else None
        return Summary(
            changed={}, undone={}, unmanaged=(), without=(), seconds={}, total=0, commands={}, sent={}, failure=failure
        )  # fmt: skip

    def saw(self, what: str) -> list[str]:
        self.done.append(what)
        return []

    def old_pods(self, _session: object) -> list[OldPod]:
        return list(self.pods)

    def restart(self, _session: object, pods: list[OldPod], _say: object) -> None:
        self.done.append(f"restart {', '.join(p.owner for p in pods)}")
        self.pods.clear()


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    (tmp_path / "cluster.yaml").write_text(SPEC)
    filled_store(make_plan(load(tmp_path)), tmp_path, NOW)
    made = Cluster(tmp_path)

    monkeypatch.setattr(authorities, "carry_out", made.apply)
    monkeypatch.setattr(evidence, "not_served", lambda _session, _store, name: made.saw(f"served {name}"))
    monkeypatch.setattr(evidence, "not_trusting", lambda _session, _store, name: made.saw(f"trusted {name}"))
    monkeypatch.setattr(evidence, "without_authority", lambda _session, _store, name: made.saw(f"pods have {name}"))
    monkeypatch.setattr(evidence, "tokens_of", lambda _session, _pem: made.saw("no tokens of the other"))
    monkeypatch.setattr(dependants, "token_secrets", lambda _session: made.secrets)
    monkeypatch.setattr(dependants, "old_pods", made.old_pods)
    monkeypatch.setattr(dependants, "restart", made.restart)
    return made


def _stage(cluster: Cluster, name: str) -> Stage:
    return cluster.rotation(name).stage()


def test_an_authority_is_seen_to_be_trusted_before_it_signs_and_to_be_shown_before_the_other_goes(cluster: Cluster) -> None:
    before = Store(cluster.inventory).certificate("ca/etcd")
    assert cluster.rotation("ca/etcd").run().failure is None
    assert cluster.done == [
        *("apply settled", "served ca/etcd"),
        *("apply introduced", "trusted ca/etcd/next"),
        *("apply switched", "served ca/etcd"),
        "apply retired",
    ]
    assert Store(cluster.inventory).certificate("ca/etcd") != before


def test_pods_have_both_kubernetes_authorities_before_the_new_one_signs(cluster: Cluster) -> None:
    cluster.rotation("ca/kubernetes").run()
    assert cluster.done.index("pods have ca/kubernetes/next") < cluster.done.index("apply switched")


def test_pods_have_tokens_of_the_new_key_before_the_old_one_goes(cluster: Cluster) -> None:
    cluster.rotation("service-account").run()
    assert cluster.done == ["apply settled", "apply introduced", "apply switched", "no tokens of the other", "apply retired"]


def test_pods_that_may_know_only_the_old_one_stop_the_drop_until_they_are_restarted(cluster: Cluster) -> None:
    cluster.pods.append(POD)
    with pytest.raises(
        Failed, match=r"1 may need what is to be dropped: pod default/web-1 \(of Deployment/web\).*--restart-workloads"
    ):
        cluster.rotation("ca/kubernetes").run()
    assert _stage(cluster, "ca/kubernetes") is Stage.SWITCHED
    cluster.rotation("ca/kubernetes", restart_workloads=True).run()
    assert "restart Deployment/web" in cluster.done
    assert _stage(cluster, "ca/kubernetes") is Stage.SETTLED


def test_with_a_word_of_the_person_the_drop_goes_on_without_them(cluster: Cluster) -> None:
    asked: list[list[str]] = []
    cluster.secrets.append("team/old-token")

    def goes_on(dependants: Sequence[str]) -> bool:
        asked.append(list(dependants))
        return True

    one = cluster.rotation("service-account", drop=goes_on)
    one.run()
    assert asked == [["Secret team/old-token, a token that never ends"]]
    assert one.stage() is Stage.SETTLED


@pytest.mark.parametrize(("name", "kind"), [("ca/kubernetes", "certificate"), ("service-account", "token")])
def test_people_whose_kubeconfigs_end_with_the_drop_are_named_before_it(cluster: Cluster, name: str, kind: Any) -> None:
    one = Issued(
        name="alice", kind=kind, id="a", groups=(), grants=(), issued="2020-01-01T00:00:00Z", expires="2099-01-01T00:00:00Z",
        signed_by=signers.signers(Store(cluster.inventory).entries, kind),
    )  # fmt: skip
    record.add(cluster.inventory, one)
    record.add(cluster.inventory, dataclasses.replace(one, name="gone", revoked="2020-01-02T00:00:00Z"))
    record.add(cluster.inventory, dataclasses.replace(one, name="late", expires="2020-01-02T00:00:00Z"))
    with pytest.raises(Failed, match="1 may need what is to be dropped: the kubeconfig of alice"):
        cluster.rotation(name).run()
    # Given a new one, which rests on the one that signs now, she stands in nobody's way.
    record.mark_revoked(cluster.inventory, "alice", "2020-01-03T00:00:00Z")
    new = signers.signers(Store(cluster.inventory).entries, kind)
    record.add(cluster.inventory, dataclasses.replace(one, id="b", signed_by=new))
    cluster.rotation(name).run()
    assert _stage(cluster, name) is Stage.SETTLED


def test_without_the_old_ones_word_old_pods_stop_the_switch_already(cluster: Cluster) -> None:
    row = Store(cluster.inventory).certificate("ca/kubernetes")
    Store(cluster.inventory).change(add={"ca/kubernetes": (row, b"")})
    (cluster.inventory / "ca.key").write_bytes(OURS.key_pem())
    cluster.pods.append(POD)
    with pytest.raises(Failed, match="pod default/web-1"):
        cluster.rotation("ca/kubernetes").run()
    assert _stage(cluster, "ca/kubernetes") is Stage.INTRODUCED


def test_an_authority_that_cluster_yaml_names_is_the_one_that_is_to_come(cluster: Cluster) -> None:
    (cluster.inventory / "ca.crt").write_bytes(CHAIN)
    (cluster.inventory / "ca.key").write_bytes(OURS.key_pem())
    (cluster.inventory / "ca.key").chmod(0o600)
    (cluster.inventory / "cluster.yaml").write_text(SPEC + "pki: {etcd_ca: ca.crt, etcd_ca_key: ca.key}\n")
    cluster.rotation("ca/etcd").run()
    assert Store(cluster.inventory).certificate("ca/etcd") == CHAIN
    load(cluster.inventory)  # from now on it is the one that the cluster has
    with pytest.raises(Failed, match="that is ca/etcd already"):
        cluster.rotation("ca/etcd").run()


def test_one_that_has_expired_is_replaced_without_a_stage_that_nobody_could_show(cluster: Cluster) -> None:
    key = keys.generate("ecdsa-p256")
    old = certificates.self_signed("etcd-ca", key, days=1, now=NOW - dt.timedelta(days=3))
    Store(cluster.inventory).change(add={"ca/etcd": (certificates.to_pem(old), keys.to_pem(key))})
    cluster.rotation("ca/etcd").run()
    assert cluster.done == ["apply switched", "apply switched", "served ca/etcd", "apply retired"]
    assert _stage(cluster, "ca/etcd") is Stage.SETTLED


@pytest.mark.parametrize("name", ["ca/etcd", "service-account"])
def test_the_way_back_waits_until_nothing_of_the_new_one_is_in_use(cluster: Cluster, name: str) -> None:
    before = Store(cluster.inventory).entries[name]
    cluster.fails_at = "apply switched"
    assert cluster.rotation(name).run().failure is not None
    cluster.done.clear()
    assert cluster.rotation(name).undo().failure is None
    seen = "served ca/etcd" if name == "ca/etcd" else "no tokens of the other"
    assert cluster.done == ["apply introduced", seen, "apply retired"]
    assert Store(cluster.inventory).entries[name] == before
    assert _stage(cluster, name) is Stage.SETTLED


def test_there_is_no_way_back_from_the_drop_nor_from_nothing(cluster: Cluster) -> None:
    with pytest.raises(Failed, match="no rotation is under way"):
        cluster.rotation("ca/etcd").undo()
    cluster.fails_at = "apply retired"
    cluster.rotation("ca/etcd").run()
    with pytest.raises(Failed, match="without --undo"):
        cluster.rotation("ca/etcd").undo()


def test_a_token_says_in_its_header_which_key_signed_it_and_what_is_no_token_says_nothing() -> None:
    header = base64.urlsafe_b64encode(json.dumps({"alg": "RS256", "kid": "a"}).encode()).rstrip(b"=").decode()
    assert evidence.signed_with(header) == "a"
    for other in ("", "eyJ", "secret", base64.urlsafe_b64encode(b"[1]").decode(), base64.urlsafe_b64encode(b"{}").decode()):
        assert evidence.signed_with(other) == ""
