"""One run at a time, and what each did is known afterwards."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import pytest
import typer

from kubewright.cli.app import app
from kubewright.errors import BadInput, Failed
from kubewright.hosts.lock import Holder, Lock, describe
from kubewright.run.journal import Journal, history
from kubewright.verbs.apply import left_out
from tests.support.fleet import FakeHost
from tests.support.scenarios import inventory, scenario

MINE = Holder(who="ada", where="laptop", since=0, verb="apply", run="r1")
THEIRS = Holder(who="bob", where="desk", since=60, verb="upgrade", run="r2")


def _hosts(*names: str) -> list[FakeHost]:
    return [FakeHost(name=name, state=scenario("lab").observed(name), log=[]) for name in names]


def test_the_second_run_is_refused_and_told_who_holds_it() -> None:
    masters = _hosts("m1", "m2")
    Lock(masters, THEIRS).acquire()
    with pytest.raises(Failed, match=re.escape(str(THEIRS))):
        Lock(masters, MINE).acquire()


def test_a_refused_run_is_told_a_command_that_can_break_the_lock() -> None:
    masters = _hosts("m1")
    Lock(masters, THEIRS).acquire()
    with pytest.raises(Failed) as refused:
        Lock(masters, dataclasses.replace(MINE, verb="certs renew")).acquire()
    advised = str(refused.value).partition("half open: kubewright ")[2].split()
    assert advised == ["apply", "-i", "INVENTORY", "--break-lock"]
    apply = typer.main.get_command(app).commands["apply"]  # type: ignore[attr-defined]
    assert {option for param in apply.params for option in param.opts} > {"-i", "--break-lock"}


def test_a_lock_that_was_taken_in_part_is_let_go() -> None:
    m1, m2 = _hosts("m1", "m2")
    Lock([m2], THEIRS).acquire()
    with pytest.raises(Failed, match=r"^m2: another run"):
        Lock([m1, m2], MINE).acquire()
    assert m1.held_by == ""


def test_masters_are_asked_in_the_order_of_their_names() -> None:
    m1, m2 = _hosts("m1", "m2")
    Lock([m1], THEIRS).acquire()
    with pytest.raises(Failed):
        Lock([m2, m1], MINE).acquire()
    assert m2.held_by == ""


def test_a_lock_is_broken_only_on_demand_and_whose_it_was_is_told() -> None:
    masters = _hosts("m1")
    Lock(masters, THEIRS).acquire()
    mine = Lock(masters, MINE, break_held=True)
    mine.acquire()
    assert mine.broken == [f"m1: {THEIRS}"]


def test_a_holder_that_can_not_be_read_is_somebody() -> None:
    assert describe("") == describe("x pid=1") == "an unnamed run"


def _run(folder: Path, run: str, *, ends: bool = True) -> None:
    journal = Journal(folder, Holder(who="ada", where="laptop", since=0, verb="apply", run=run), _hosts("m1"))
    journal.begin(spec="s")
    journal.step("etcd", "m1", ("write /etc/x", "restart etcd.service"))
    if ends:
        journal.end("failed", error="m1: it is full")


def test_history_tells_what_each_run_did_the_newest_first(tmp_path: Path) -> None:
    _run(tmp_path, "20260101T000000Z-aaaa")
    _run(tmp_path, "20260102T000000Z-bbbb", ends=False)
    newest, oldest = history(tmp_path)
    assert (newest.outcome, newest.seconds, newest.changes) == ("killed", None, 2)
    assert (oldest.outcome, oldest.error, oldest.hosts, oldest.by) == ("failed", "m1: it is full", ("m1",), "ada@laptop")


def test_a_line_that_a_power_cut_tore_is_left_out(tmp_path: Path) -> None:
    _run(tmp_path, "20260101T000000Z-aaaa", ends=False)
    with next((tmp_path / "journal").iterdir()).open("a") as file:
        file.write('{"event": "ch')
    assert [run.outcome for run in history(tmp_path)] == ["killed"]


def test_masters_are_told_when_a_run_begins_and_ends(tmp_path: Path) -> None:
    master = _hosts("m1")[0]
    journal = Journal(tmp_path, MINE, [master])
    journal.begin()
    journal.step("etcd", "m1", ("x",))
    journal.end("done")
    assert [json.loads(line)["event"] for line in master.recorded] == ["begun", "ended"]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["w9"], "no such host (w9)"),
        (["m1", "m2"], "etcd would have 1 of 3 members (without m1, m2)"),
        (["m1", "m2", "m3"], "no master would be left"),
    ],
)
def test_hosts_that_can_not_be_done_without_are_refused(names: list[str], message: str) -> None:
    with pytest.raises(BadInput) as refused:
        left_out(inventory("lab"), names)
    assert message in str(refused.value)


def test_a_worker_or_one_master_of_three_can_be_left_out() -> None:
    assert left_out(inventory("lab"), ["w1", "m3"]) == {"w1", "m3"}
