"""What the roles of a joining, leaving or departed host want: nothing in an apply, one task of one host otherwise."""

from __future__ import annotations

import dataclasses
import subprocess

import pytest

from deploy.waves import ROLES
from kubewright.model.cluster import Gone
from kubewright.observe import facts
from kubewright.plan.changes import changes
from kubewright.plan.context import Context
from kubewright.plan.desired import Desired
from tests.support.scenarios import scenario

LAB = scenario("lab")
M3 = f"https://{LAB.plan.node('m3').address}:2380"
GONE = Gone(name="m9", address="10.90.0.19")
NAMES = ("members", "votes", "departed")


def _context(name: str, *, learning: frozenset[str] = frozenset(), **plan: object) -> Context:
    context = LAB.context(name)
    return dataclasses.replace(context, plan=dataclasses.replace(context.plan, **plan), learning=learning)  # type: ignore[arg-type]


def _desired(context: Context, *names: str) -> dict[str, Desired]:
    wanted = {role.name: role.desired(context) for role in ROLES if role.runs_on(context.node)}
    return {name: wanted[name] for name in names}


def test_an_apply_wants_nothing_of_them() -> None:
    assert all(found == Desired() for found in _desired(_context("m1"), *NAMES).values())


def test_one_host_does_their_work() -> None:
    for name in ("m2", "m3"):
        context = _context(name, learning=frozenset({"m3"}), joining=frozenset({"m3"}), gone=(GONE,))
        assert all(found == Desired() for found in _desired(context, *NAMES).values())


@pytest.mark.parametrize("name", ["members", "votes"])
def test_their_scripts_are_shell(name: str) -> None:
    context = _context("m1", learning=frozenset({"m3"}), joining=frozenset({"m3"}), gone=(GONE,))
    tasks = _desired(context, name)[name].tasks
    assert tasks
    for task in tasks:
        done = subprocess.run(["sh", "-n"], input=task.content, capture_output=True, check=False)
        assert done.returncode == 0 and b"{{" not in task.content, done.stderr


def test_a_member_is_added_and_gets_its_vote_once() -> None:
    context = _context("m1", learning=frozenset({"m3"}), joining=frozenset({"m3"}))
    found = _desired(context, "members", "votes")
    seen = context.observed
    assert all(changes(each, seen).tasks for each in found.values())
    there = {facts.of_member(M3): "there", facts.of_vote(M3): "no"}
    assert not changes(found["members"], dataclasses.replace(seen, facts=there))
    assert changes(found["votes"], dataclasses.replace(seen, facts=there))
    assert not changes(found["votes"], dataclasses.replace(seen, facts={**there, facts.of_vote(M3): "yes"}))


def test_what_has_left_is_removed_while_a_list_names_it_or_does_not_come() -> None:
    context = _context("m1", gone=(GONE,))
    found = _desired(context, "members", "departed")
    lists = {facts.MEMBERS: "known", facts.NODES: "known"}
    named = {**lists, facts.of_member(GONE.peer_url): "there", facts.of_node("m9"): "registered"}
    for each in found.values():
        assert changes(each, dataclasses.replace(context.observed, facts={}))
        assert changes(each, dataclasses.replace(context.observed, facts=named))
        assert not changes(each, dataclasses.replace(context.observed, facts=lists))
    sentences = changes(found["departed"], dataclasses.replace(context.observed, facts=named)).sentences()
    assert sentences == ("remove node m9",)


def test_the_node_of_a_host_that_only_lost_its_member_s_data_stays() -> None:
    context = _context("m1", gone=(dataclasses.replace(GONE, keeps_node=True),))
    found = _desired(context, "members", "departed")
    assert found["departed"] == Desired() and found["members"].tasks


def test_a_joining_member_is_ready_before_it_answers_linearizable_reads() -> None:
    def ready(context: Context) -> str:
        return _desired(context, "etcd")["etcd"].units[0].ready

    assert "serializable=true" in ready(_context("m3", learning=frozenset({"m3"})))
    assert "serializable" not in ready(_context("m3"))


def test_nobody_is_told_of_a_host_that_leaves_and_quorum_and_firewall_still_count_it() -> None:
    leaving = frozenset({"m3"})
    address = str(LAB.plan.node("m3").address)
    for name in ("m1", "w1"):
        context, before = _context(name, leaving=leaving), _context(name)
        names = [role.name for role in ROLES if role.runs_on(context.node)]
        now, then = _desired(context, *names), _desired(before, *names)
        text = b"".join(
            f.content for d in now.values() for f in d.files if isinstance(f.content, bytes) and "bootstrap" not in f.path
        )
        assert address.encode() not in text
        assert now.get("firewall") == then.get("firewall")
    gate = _desired(_context("m1", leaving=leaving), "etcd")["etcd"].units[0].gate
    assert address in gate and "-ge 2 ]" in gate
