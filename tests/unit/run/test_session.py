"""A session: several plans under one lock and in one journal, ended once."""

from __future__ import annotations

from pathlib import Path

import pytest

from kubewright.errors import Failed, HostsUnfit
from kubewright.run.events import Event
from kubewright.run.journal import history
from kubewright.run.session import Session
from tests.support.fleet import FakeHost
from tests.support.hosts import fresh
from tests.support.scenarios import inventory


def _session(folder: Path, *, lasting: bool = False, break_lock: bool = False) -> tuple[Session, dict[str, FakeHost]]:
    spec = inventory("lab")
    session = Session(inventory=folder, spec=spec, roles=(), verb="rotate x", lasting=lasting, break_lock=break_lock)
    log: list[tuple[str, str]] = []
    hosts = {node.name: FakeHost(name=node.name, state=fresh(), log=log) for node in session.plan.nodes}
    session.hosts.update(hosts)
    return session, hosts


def _changed(session: Session, what: str) -> None:
    session.take_lock()
    session.begin()
    session.note("etcd", "m1", (what,))
    session.plan_ended(None)


def _held(hosts: dict[str, FakeHost]) -> list[str]:
    return [name for name, host in hosts.items() if host.held_by]


def test_a_lasting_session_keeps_the_lock_between_its_plans_and_is_one_run_in_the_history(tmp_path: Path) -> None:
    session, hosts = _session(tmp_path, lasting=True)
    _changed(session, "write a")
    assert _held(hosts) == ["m1", "m2", "m3"]
    _changed(session, "write b")
    session.end()
    assert _held(hosts) == []
    assert [(run.verb, run.outcome, run.changes) for run in history(tmp_path)] == [("rotate x", "done", 2)]


def test_another_session_ends_with_its_plan(tmp_path: Path) -> None:
    session, hosts = _session(tmp_path)
    _changed(session, "write a")
    assert _held(hosts) == []
    assert [run.outcome for run in history(tmp_path)] == ["done"]


def test_a_plan_that_fails_ends_a_lasting_session_too_and_nothing_overwrites_the_failure(tmp_path: Path) -> None:
    session, hosts = _session(tmp_path, lasting=True)
    session.take_lock()
    session.begin()
    session.plan_ended(Failed("m2: act failed"))
    session.end()
    assert _held(hosts) == []
    assert [(run.outcome, run.error) for run in history(tmp_path)] == [("failed", "m2: act failed")]


def test_a_session_that_changes_nothing_takes_no_lock_and_writes_no_journal(tmp_path: Path) -> None:
    session, hosts = _session(tmp_path)
    session.plan_ended(None)
    assert (_held(hosts), session.locked, list(tmp_path.iterdir())) == ([], False, [])
    assert [host.recorded for host in hosts.values()] == [[]] * 5


def test_another_runs_lock_is_told_and_nothing_is_held(tmp_path: Path) -> None:
    session, hosts = _session(tmp_path)
    hosts["m2"].hold("not a holder's line")
    with pytest.raises(Failed, match="m2: another run is at work: an unnamed run"):
        session.take_lock()
    assert hosts["m1"].held_by == hosts["m3"].held_by == ""
    assert not session.locked


def test_nothing_begins_without_the_lock(tmp_path: Path) -> None:
    session, hosts = _session(tmp_path)
    hosts["m2"].hold("not a holder's line")
    with pytest.raises(Failed):
        session.take_lock()
    with pytest.raises(AssertionError, match="the lock is taken before anything is changed"):
        session.begin()
    assert list(tmp_path.iterdir()) == []


def test_a_master_that_fails_while_the_lock_is_taken_leaves_none_locked(tmp_path: Path) -> None:
    session, hosts = _session(tmp_path)
    hosts["m2"].fails_at = "hold"
    with pytest.raises(Failed, match="m2: hold failed") as failed:
        session.take_lock()
    session.end(failed.value)
    assert _held(hosts) == []


def test_a_lock_that_is_broken_is_told(tmp_path: Path) -> None:
    events: list[Event] = []
    session, hosts = _session(tmp_path, break_lock=True)
    session.notify = events.append
    hosts["m2"].hold("not a holder's line")
    session.take_lock()
    assert [event.text for event in events] == ["took the lock from m2: an unnamed run"]


def test_every_host_that_does_not_answer_is_named(tmp_path: Path) -> None:
    session, hosts = _session(tmp_path)
    hosts["w1"].fails_at = hosts["m2"].fails_at = "observe"
    with pytest.raises(HostsUnfit) as unfit:
        session.observe_all()
    assert sorted(problem.where for problem in unfit.value.problems) == ["m2", "w1"]
    assert set(session.observed) == {"m1", "m3", "w2"}
