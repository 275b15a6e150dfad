from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kubewright.errors import BadInput, Failed
from kubewright.verbs.users import adding, manifests, record, revoking, signers
from kubewright.verbs.users.listing import listed, rows
from kubewright.verbs.users.record import Issued
from pki.store import Entry
from tests.unit.verbs.users.conftest import ALICE, FakeCluster

EARLY, LATE = "2020-01-01T00:00:00Z", "2099-01-01T00:00:00Z"


def _add(inventory: Path, cluster: FakeCluster, **changed: Any) -> Issued:
    given: dict[str, Any] = {"kind": "certificate", "csr": None, "create_namespaces": False, **changed}
    output = inventory / "alice.kubeconfig"
    output.unlink(missing_ok=True)
    return adding.add(inventory, cluster, ALICE, output, **given)


@pytest.mark.parametrize("kind", ["certificate", "token"])
def test_a_revoked_user_has_nothing_left_and_is_on_record(inventory: Path, cluster: FakeCluster, kind: str) -> None:
    issued = _add(inventory, cluster, kind=kind)
    assert [row.state for row in listed(inventory, cluster)] == ["active"]
    done = revoking.revoke(inventory, cluster, "alice")
    assert cluster.objects == [] and done.removed == (4 if kind == "certificate" else 5)
    assert (done.refused_by, done.silent) == (("m1", "m2", "m3"), ())
    assert {review["spec"]["user"].rsplit(":", 1)[1] for review in cluster.reviewed} == {
        issued.id if kind == "certificate" else f"alice-{issued.id}"
    }
    (row,) = listed(inventory, cluster)
    assert row.state == "revoked" and row.revoked
    assert done.loopholes == ("team-a: its service accounts' tokens could be made there; kubectl -n team-a get serviceaccounts",)


def test_the_same_name_again_is_another_credential(inventory: Path, cluster: FakeCluster) -> None:
    first = _add(inventory, cluster)
    revoking.revoke(inventory, cluster, "alice")
    second = _add(inventory, cluster)
    assert [row.state for row in listed(inventory, cluster)] == ["revoked", "active"]
    assert not [item for item in cluster.objects if first.id in str(item)]
    assert [item for item in cluster.objects if second.id in str(item)] == cluster.objects


def test_a_repeated_revoke_is_harmless_and_checks_every_earlier_credential(inventory: Path, cluster: FakeCluster) -> None:
    _add(inventory, cluster)
    revoking.revoke(inventory, cluster, "alice")
    before = record.read(inventory)
    assert revoking.revoke(inventory, cluster, "alice").removed == 0
    assert record.read(inventory) == before


def test_an_unknown_user_cannot_be_revoked(inventory: Path, cluster: FakeCluster) -> None:
    _add(inventory, cluster)
    with pytest.raises(BadInput, match=r"no such user \(bob\); allowed: alice"):
        revoking.revoke(inventory, cluster, "bob")


def test_the_list_shows_a_revoke_that_was_killed_before_any_removal(inventory: Path, cluster: FakeCluster) -> None:
    _add(inventory, cluster)
    cluster.fails_at = "remove"
    with pytest.raises(Failed):
        revoking.revoke(inventory, cluster, "alice")
    assert [row.state for row in listed(inventory, cluster)] == ["revived"]
    cluster.fails_at = ""
    revoking.revoke(inventory, cluster, "alice")
    assert [row.state for row in listed(inventory, cluster)] == ["revoked"]


def test_revoke_cleans_up_after_a_killed_add(inventory: Path, cluster: FakeCluster) -> None:
    cluster.fails_at = "token"
    with pytest.raises(Failed):
        _add(inventory, cluster, kind="token")
    assert [row.state for row in listed(inventory, cluster)] == ["unbound"]
    cluster.fails_at = ""
    assert revoking.revoke(inventory, cluster, "alice").removed == 1
    _add(inventory, cluster, kind="token")


def test_masters_that_do_not_answer_are_reported(inventory: Path, cluster: FakeCluster) -> None:
    _add(inventory, cluster)
    cluster.silent = frozenset({"192.0.2.12"})
    done = revoking.revoke(inventory, cluster, "alice")
    assert (done.refused_by, done.silent) == (("m1", "m3"), ("m2",))


def test_an_apiserver_that_still_allows_access_is_a_failure(
    inventory: Path, cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(revoking, "REFUSED_WITHIN", 0)
    _add(inventory, cluster)
    cluster.stubborn = frozenset({"192.0.2.13"})
    with pytest.raises(Failed, match="m3: its apiserver still allows impersonate users alice"):
        revoking.revoke(inventory, cluster, "alice")


def test_an_administrators_possible_other_access_is_reported(inventory: Path, cluster: FakeCluster) -> None:
    admin = replace(ALICE, groups=("kubeadm:cluster-admins",), grants=())
    adding.add(inventory, cluster, admin, inventory / "x", kind="certificate", csr=None, create_namespaces=False)
    assert "kubeadm:cluster-admins" in revoking.revoke(inventory, cluster, "alice").loopholes[0]


def test_a_user_added_from_another_machine_is_listed_and_revoked(inventory: Path, cluster: FakeCluster) -> None:
    _add(inventory, cluster)
    (inventory / record.FILE).unlink()
    (row,) = listed(inventory, cluster)
    assert (row.name, row.state, row.grants, row.groups) == ("alice", "active", ALICE.grants, ALICE.groups)
    assert revoking.revoke(inventory, cluster, "alice").removed == 4
    assert cluster.objects == []


def test_an_expired_or_unbound_credential_is_not_active() -> None:
    one = Issued(name="alice", kind="certificate", id="a", groups=(), grants=(), issued=EARLY, expires=LATE)
    access = manifests.Access(name="alice", kind="certificate", id="a", groups=(), grants=(), expires=LATE, live=True)
    assert [row.state for row in rows([one], {"alice": access}, EARLY, {})] == ["active"]
    assert [row.state for row in rows([replace(one, expires=EARLY)], {"alice": access}, EARLY, {})] == ["expired"]
    assert [row.state for row in rows([one], {}, EARLY, {})] == ["unbound"]
    assert [row.state for row in rows([], {"alice": replace(access, expires=EARLY)}, EARLY, {})] == ["expired"]
    signer = {"ca/kubernetes": Entry(certificate="old", key_sha256="")}
    old = replace(one, signed_by=signers.signers(signer, "certificate"))
    for suffix, state in (("", "active"), ("/previous", "active"), ("/dropped", "outdated")):
        entries = {f"ca/kubernetes{suffix}": signer["ca/kubernetes"]}
        assert [row.state for row in rows([old], {"alice": access}, EARLY, entries)] == [state]
    # Another credential of the same name is not this one.
    assert [row.state for row in rows([one], {"alice": replace(access, id="b")}, EARLY, {})] == ["unbound", "active"]


def test_a_foreign_record_is_reported(tmp_path: Path) -> None:
    for text in ("{", "[{}]", '[{"groups": [], "grants": [], "more": 1}]', '{"a": 1}'):
        (tmp_path / record.FILE).write_text(text)
        with pytest.raises(Failed, match=r"users\.json: can't be read"):
            record.read(tmp_path)
