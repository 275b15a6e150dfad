from __future__ import annotations

from typing import Any

import pytest

from kubewright.errors import BAD_INPUT, BadInput, Problem
from kubewright.verbs.users.wanted import Wanted, wanted


def _asked(name: str = "alice", **changed: Any) -> Wanted:
    asked: dict[str, Any] = {"groups": [], "namespaces": ["team-a"], "role": "view", "days": 90}
    return wanted(name, **{**asked, **changed})


def test_a_role_without_namespaces_is_for_all_namespaces() -> None:
    found = _asked(namespaces=["team-a", "team-b:admin"], role="edit", groups=["devs", "devs"])
    assert found == Wanted(name="alice", groups=("devs",), grants=(("team-a", "edit"), ("team-b", "admin")), days=90)


@pytest.mark.parametrize("group", ["devs", "kubeadm:cluster-admins", "oidc:a/b", "team@example.org", "d"])
def test_a_group_may_have_any_name_that_can_be_bound(group: str) -> None:
    assert _asked(groups=[group], namespaces=[]).groups == (group,)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"name": "Alice"}, "not a user's name (Alice)"),
        ({"name": "system:admin"}, "not a user's name (system:admin)"),
        ({"name": "../alice"}, "not a user's name"),
        ({"name": "a" * 41}, "at most 40"),
        ({"name": ""}, "not a user's name"),
        ({"groups": ["system:masters"]}, "not for people (system:masters)"),
        ({"groups": ["system:nodes"]}, "not for people (system:nodes)"),
        ({"groups": ["kubewright:x"]}, "not for people (kubewright:x)"),
        ({"groups": ["a b"]}, "not a group's name (a b)"),
        ({"groups": [""]}, "not a group's name ()"),
        ({"namespaces": ["Team"]}, "not a namespace (Team)"),
        ({"namespaces": [":edit"]}, "not a namespace ()"),
        ({"namespaces": ["team-a:root"]}, "no such role (team-a:root)"),
        ({"role": "cluster-admin"}, "no such role (cluster-admin)"),
        ({"namespaces": ["team-a", "team-a:edit"]}, "named twice (team-a)"),
        ({"namespaces": ["kube-system:edit"]}, "every right in the cluster (kube-system:edit)"),
        ({"namespaces": ["kubewright-users"]}, "every right in the cluster (kubewright-users:view)"),
        ({"namespaces": []}, "may do nothing"),
        ({"days": 0}, "out of range (0)"),
        ({"days": 3651}, "out of range (3651)"),
    ],
    ids=str,
)
def test_an_invalid_value_is_refused_and_named(changed: dict[str, Any], said: str) -> None:
    with pytest.raises(BadInput) as refused:
        _asked(**changed)
    assert said in str(refused.value) and len(refused.value.problems) == 1
    assert refused.value.exit_code == BAD_INPUT


def test_all_problems_are_reported_at_once_including_the_callers() -> None:
    more = [Problem(where="-o", what="is there already", allowed="", todo="")]
    with pytest.raises(BadInput) as refused:
        _asked("A", groups=["system:masters", "b b"], namespaces=["X", "y:z"], role="none", days=-1, more=more)
    assert len(refused.value.problems) == 8
