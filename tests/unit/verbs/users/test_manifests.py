from __future__ import annotations

from dataclasses import replace

import pytest

from kubewright.verbs.users.credential import Credential, Kind, Object
from kubewright.verbs.users.manifests import Access, account, objects, people
from kubewright.verbs.users.removal import removal, reviews
from tests.unit.verbs.users.conftest import ALICE, EXPIRES

CERTIFICATE = Credential(kind="certificate", name="alice", id="0123456789ab")
TOKEN = Credential(kind="token", name="alice", id="0123456789ab")


def _binding(name: str, *subjects: Object, namespace: str = "team-a", labels: dict[str, str] | None = None) -> Object:
    meta = {"name": name, "namespace": namespace, "labels": labels or {}}
    return {"apiVersion": "rbac/v1", "kind": "RoleBinding", "metadata": meta, "subjects": list(subjects)}


def _user(name: str) -> Object:
    return {"kind": "User", "name": name}


@pytest.mark.parametrize("kind", ["certificate", "token"])
def test_written_objects_can_be_read_back(kind: Kind) -> None:
    one = Credential(kind=kind, name="alice", id="0123456789ab")
    written = objects(ALICE, one, EXPIRES)
    assert people(written) == {
        "alice": Access(name="alice", kind=kind, id=one.id, groups=ALICE.groups, grants=ALICE.grants, expires=EXPIRES, live=True)
    }


def test_a_credential_may_impersonate_only_the_person_and_the_groups() -> None:
    (role,) = (item for item in objects(ALICE, CERTIFICATE, EXPIRES) if item["kind"] == "ClusterRole")
    assert role["rules"] == [
        {"apiGroups": [""], "resources": ["users"], "resourceNames": ["alice"], "verbs": ["impersonate"]},
        {"apiGroups": [""], "resources": ["groups"], "resourceNames": ["devs"], "verbs": ["impersonate"]},
    ]


def test_a_service_account_without_bindings_gives_no_access() -> None:
    assert not people([account(TOKEN)])["alice"].live


def test_foreign_objects_belong_to_no_person() -> None:
    assert people([_binding("x", _user("alice")), _binding("y", labels={"kubewright/user": "alice"})]) == {}


@pytest.mark.parametrize("one", [CERTIFICATE, TOKEN], ids=["certificate", "token"])
def test_everything_of_a_person_is_removed_and_nothing_of_another(one: Credential) -> None:
    bob = objects(replace(ALICE, name="bob"), replace(one, name="bob"), EXPIRES)
    hers = [*objects(ALICE, one, EXPIRES), *([account(one)] if one.kind == "token" else [])]
    due = removal([*hers, *bob], "alice")
    assert len(due.delete) == len(hers) and {item["metadata"]["name"] for item in due.delete} <= {
        "kubewright:user:alice",
        one.account,
    }


@pytest.mark.parametrize("one", [CERTIFICATE, TOKEN], ids=["certificate", "token"])
@pytest.mark.parametrize("as_user", [True, False], ids=["by name", "as subject"])
def test_a_credential_is_removed_from_foreign_bindings(one: Credential, as_user: bool) -> None:
    subject = _user(one.username) if as_user else one.subject
    due = removal([_binding("alone", subject), _binding("shared", subject, _user("bob"))], "alice")
    assert [item["metadata"]["name"] for item in due.delete] == ["alone"]
    assert [item["subjects"] for item in due.replace] == [[_user("bob")]]


@pytest.mark.parametrize(
    "subject",
    [
        _user("kubewright:alice-smith:0123456789ab"),
        _user("alice.b"),
        {"kind": "ServiceAccount", "namespace": "kubewright-users", "name": "alice-smith-0123456789ab"},
        {"kind": "ServiceAccount", "namespace": "team-a", "name": TOKEN.account},
        {"kind": "Group", "name": "kubewright:alice:0123456789ab"},
    ],
    ids=str,
)
def test_a_subject_that_only_looks_like_the_persons_stays(subject: Object) -> None:
    due = removal([_binding("x", subject)], "alice")
    assert not due.objects and not due.loopholes


def test_a_binding_without_subjects_is_left() -> None:
    assert not removal([{k: v for k, v in _binding("x").items() if k != "subjects"}], "alice").objects


def test_remaining_access_is_reported() -> None:
    everybody = {"kind": "Group", "name": "system:authenticated"}
    rows = [
        _binding("hand-made", _user("alice")),
        _binding("all", everybody),
        _binding("own", everybody, labels={"kubernetes.io/bootstrapping": "rbac-defaults"}),
    ]
    due = removal(rows, "alice")
    assert not due.objects
    assert [loophole.split(":")[0] for loophole in due.loopholes] == [
        "RoleBinding team-a hand-made still names alice",
        "RoleBinding team-a all is for system",
    ]


def test_an_apiserver_is_asked_about_the_person_and_each_namespace() -> None:
    asked = [review["spec"] for review in reviews(CERTIFICATE.username, "alice", ALICE.grants)]
    assert {spec["user"] for spec in asked} == {"kubewright:alice:0123456789ab"}
    assert [spec["resourceAttributes"]["verb"] for spec in asked] == ["impersonate", "get", "get"]
