"""The checks that follow from roles' data cost a host no round trip, and `verify` counts them."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any, cast

import gevent
import pytest

from deploy.waves import ROLES
from kubewright.hosts.remote import Answer
from kubewright.plan.role import Role
from kubewright.tls.port_certificates import _ports
from kubewright.verbs import verify
from kubewright.verbs.verify import _checked, checks
from tests.support.scenarios import REPOSITORY, hosts, scenario

PLAN = scenario("lab").plan


class Silent:
    """A host whose every answer is empty: all checks fail, and none asks a second question because of an answer."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.scripts: list[str] = []

    def run(self, _command: str, stdin: Any, *, timeout: float) -> Answer:
        assert timeout
        self.scripts.append(b"".join(stdin).decode())
        gevent.sleep(0)
        asked = re.findall(r"^ask (\d+) ", self.scripts[-1], re.MULTILINE)
        return Answer(status=0, stdout="".join(f"kubewright-answer {n} 0  \n" for n in asked), stderr="")

    @property
    def questions(self) -> int:
        return sum(len(re.findall(r"^ask \d+ ", text, re.MULTILINE)) for text in self.scripts)


def _asked(host: str, roles: tuple[Role, ...] = ROLES) -> Silent:
    """One look at `host`."""
    silent = Silent(host)
    run = SimpleNamespace(hosts={host: None}, remotes={host: silent}, roles=roles, plan=PLAN, unreachable=["another"])
    _checked(cast(Any, run))
    return silent


@pytest.mark.parametrize("host", ["m1", "w1"])
def test_derived_checks_cost_three_questions_and_no_round_trip(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    after = _asked(host)
    monkeypatch.setattr(verify, "derived_checks", lambda *_: ())
    before = _asked(host)
    assert len(after.scripts) == len(before.scripts)
    assert after.questions == before.questions + 3
    print(f"{host}: {len(before.scripts)} -> {len(after.scripts)} commands, {before.questions} -> {after.questions} questions")


@pytest.mark.parametrize(("name", "host"), hosts())
def test_a_roles_own_checks_and_the_derived_ones_have_titles_of_their_own(name: str, host: str) -> None:
    plan = scenario(name).plan
    titles = [(role, check.title) for role, check in checks(plan, plan.node(host), ROLES)]
    assert len(titles) == len(set(titles))


@pytest.mark.parametrize("readme", ["README.md", "README.zh-CN.md"])
def test_the_readme_says_how_many_checks_the_lab_has(readme: str) -> None:
    of_roles = sum(len(list(checks(PLAN, node, ROLES))) for node in PLAN.nodes)
    served = sum(len(list(_ports(node.name, PLAN, ROLES))) for node in PLAN.nodes)
    assert f"\n{of_roles + served} of {of_roles + served} checks hold\n" in (REPOSITORY / readme).read_text()
