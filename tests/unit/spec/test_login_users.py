"""Login names of Linux and directory services are accepted; names that ssh or a shell could misread are not."""

from __future__ import annotations

import json

import pytest

from tests.unit.spec.conftest import Problems

SPEC = "name: prod\nssh: {{{}: {}}}\nhosts:\n  - {{name: m1, address: 192.0.2.11, roles: [master]}}\n"
TAKEN = ("root", "_svc", "a", "7up", "alice@corp.example.com", "CORP\\alice", "CORP+alice", "first.last-2", "x" * 255)
REFUSED = (
    "", "-root", "a b", "a\tb", "a\nb", "a'b", 'a"b', "a`b", "a$b", "a;b", "a|b", "a&b", "a>b", "a(b", "CORP\\", "@corp", "a:b",
    "a/b", "a%b", "a\x00b", "x" * 256,
)  # fmt: skip


@pytest.mark.parametrize("user", TAKEN)
def test_a_user_name_of_the_system_is_accepted(problems: Problems, user: str) -> None:
    assert problems(SPEC.format("user", json.dumps(user))) == []
    assert problems(SPEC.format("jump", json.dumps(f"{user}@bastion.example.org:2222"))) == []


@pytest.mark.parametrize("user", REFUSED)
def test_a_user_name_that_breaks_command_lines_is_refused(problems: Problems, user: str) -> None:
    assert "not a user name" in problems(SPEC.format("user", json.dumps(user)))[0]
    if user:
        assert "not a jump host" in problems(SPEC.format("jump", json.dumps(f"{user}@bastion.example.org")))[0]
