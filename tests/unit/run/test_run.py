"""A run over several hosts: what is done, in which order, and what a failure leaves alone."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import gevent
import pytest

from kubewright.artifacts import Bundle
from kubewright.errors import Failed, HostsUnfit
from kubewright.observe.observed import Entry, Observed, UnitState
from kubewright.plan import leftovers
from kubewright.plan.context import Context
from kubewright.plan.desired import Desired, File, Payload, Stored, Trial, Unit
from kubewright.plan.move import Move
from kubewright.plan.role import Role, on_every_host, on_masters
from kubewright.plan.wave import wave
from kubewright.releases import DEFAULT, Release
from kubewright.run import nodes, snapshot, stock, waves
from kubewright.run import run as engine
from kubewright.run.events import Event, Stopped
from kubewright.run.journal import history
from kubewright.run.run import Run
from kubewright.run.session import Session
from kubewright.run.steps import Step, run_step, steps
from pki import encryption
from pki.decisions import Given
from pki.store import INDEX, Store
from pki.vault import Vault
from tests.pki.brought import CHAIN
from tests.support.fleet import FakeHost
from tests.support.hosts import carried_out
from tests.support.scenarios import fake_bundle, inventory, scenario

UNIT = "x.service"
WANTED = Desired(
    files=(File(path="/etc/kubernetes/x", content=b"new\n", restarts=(UNIT,)),),
    units=(Unit(name=UNIT, gate="true", ready="true"),),
)


def _role(desired: Callable[[Context], Desired] = lambda _context: WANTED) -> Role:
    return Role(name="x", runs_on=on_masters, units=(UNIT,), desired=desired)


INSTALLED = tuple(sorted(leftovers.wanted([WANTED])))
"""What the masters' records say: the record is a step of its own, and not what these tests are about."""


def _serving(state: Observed) -> Observed:
    """The unit runs with another file than is wanted: it must restart."""
    return dataclasses.replace(
        state,
        units={UNIT: UnitState(active="active", enabled="enabled")},
        started_with={UNIT: {"/etc/kubernetes/x": "0" * 64}},
    )


def _recorded(role: Role) -> tuple[str, ...]:
    """What the record of payloads says of a host that has the role."""
    try:
        return tuple(f"now {payload.path}" for payload in role.desired(cast(Context, None)).payloads)
    except (AttributeError, ZeroDivisionError):  # it looks at the host, or is broken
        return ()


class Fleet:
    """One run over the hosts of the lab's inventory."""

    def __init__(self, folder: Path, role: Role, *, serving: bool = False, installed: tuple[str, ...] = INSTALLED) -> None:
        self.log: list[tuple[str, str]] = []
        self.events: list[Event] = []
        session = Session(inventory=folder, spec=inventory("lab"), roles=(role,), notify=self.events.append)
        self.run = Run(session=session, waves=(wave(role),))
        made = scenario("lab")
        self.hosts = {}
        for node in made.plan.nodes:
            # A run compares clocks with its own.
            state = dataclasses.replace(made.observed(node.name), clock=time.time(), installed=installed * node.is_master)
            state = dataclasses.replace(state, payloads=_recorded(role) * node.is_master)
            state = _serving(state) if serving else state
            self.hosts[node.name] = FakeHost(
                name=node.name,
                state=state,
                log=self.log,
                acts=lambda state: carried_out(WANTED, state),
            )
        self.run.hosts.update(self.hosts)
        self.role = role

    def apply(self) -> list[BaseException | None]:
        """Every step on all hosts before the next, as pyinfra does it. What the role's own raised, by host."""
        raised: list[BaseException | None] = []
        for step in steps(self.run.waves):
            greenlets = [gevent.spawn(run_step, self.run, step, name) for name in self.hosts]
            gevent.joinall(greenlets)
            raised = [g.exception for g in greenlets] if step.title == self.role.name else raised
        return raised

    def done(self, what: str) -> list[str]:
        return [name for done, name in self.log if done == what]


@pytest.fixture(autouse=True)
def _no_downloads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "obtain_all", lambda release, *_a, **_k: fake_bundle(release))


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    return Fleet(tmp_path, _role())


def test_hosts_that_a_role_does_not_run_on_are_left(fleet: Fleet) -> None:
    assert fleet.apply() == [None] * 5
    assert sorted(fleet.done("act")) == ["m1", "m2", "m3"]
    assert fleet.hosts["w1"].commands == 2, "observed, and once more under the lock; nothing else"


def test_every_host_is_observed_before_any_acts(fleet: Fleet) -> None:
    fleet.apply()
    assert {name for _, name in fleet.log[:5]} == set(fleet.hosts)
    assert {what for what, _ in fleet.log[:5]} == {"observe"}


def _outcomes(folder: Path) -> list[tuple[str, str]]:
    return [(run.outcome, run.error) for run in history(folder)]


def test_a_run_that_reached_its_last_step_has_ended_once(fleet: Fleet, tmp_path: Path) -> None:
    fleet.apply()
    assert _outcomes(tmp_path) == [("done", "")]
    assert not any(host.held_by for host in fleet.hosts.values()), "the lock is let go"
    recorded = list(fleet.hosts["m1"].recorded)
    fleet.run.abandon()
    assert _outcomes(tmp_path) == [("done", "")]
    assert fleet.hosts["m1"].recorded == recorded


def test_a_run_that_was_interrupted_ends_as_failed_and_lets_the_lock_go(fleet: Fleet, tmp_path: Path) -> None:
    for step in steps(fleet.run.waves)[:3]:
        gevent.joinall([gevent.spawn(run_step, fleet.run, step, name) for name in fleet.hosts], raise_error=True)
    assert fleet.hosts["m1"].held_by
    fleet.run.abandon()
    assert _outcomes(tmp_path) == [("failed", "interrupted; run the same command again: it resumes from what is done")]
    assert not any(host.held_by for host in fleet.hosts.values())


def test_a_run_that_failed_ends_with_its_cause(fleet: Fleet, tmp_path: Path) -> None:
    fleet.hosts["m1"].fails_at = "act"
    fleet.apply()
    fleet.run.abandon()
    assert _outcomes(tmp_path) == [("failed", "m1: act failed")]


def test_stock_pyinfra_ends_its_run_even_when_it_leaves_out_the_last_step(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    at_exit: list[Callable[[], None]] = []
    monkeypatch.setattr("atexit.register", at_exit.append)
    monkeypatch.setattr(stock, "load", lambda _folder: inventory("lab"))
    monkeypatch.setattr(stock, "refuse_fewer", lambda _spec, _folder: None)
    run = stock.stock_for(tmp_path, (wave(_role()),)).run
    assert at_exit == [run.abandon]


def test_stock_pyinfra_does_not_ask_a_host_again_that_its_prepare_phase_asked(fleet: Fleet) -> None:
    observe, *_ = steps(fleet.run.waves)
    m1, w1 = (SimpleNamespace(name=name) for name in ("m1", "w1"))
    fleet.run.session.observe("m1")
    stock.call(None, m1, fleet.run, observe)
    assert fleet.log == [("observe", "m1")]
    stock.call(None, w1, fleet.run, observe)
    assert fleet.log == [("observe", "m1"), ("observe", "w1")]


def test_a_second_run_asks_once_and_does_nothing(fleet: Fleet, tmp_path: Path) -> None:
    fleet.apply()
    again = Fleet(tmp_path, _role())
    for name, host in fleet.hosts.items():
        again.hosts[name].state = host.state
    again.apply()
    assert again.done("act") == []
    assert [host.commands for host in again.hosts.values()] == [1] * 5
    assert again.run.changed == {}
    assert again.events == []


def test_a_run_that_another_run_locks_out_writes_no_journal_and_makes_no_certificate(fleet: Fleet, tmp_path: Path) -> None:
    """Every host has its callback: the ones that wait for the first one's must not go on without the lock."""
    fleet.hosts["m2"].held_by, hold = "another", fleet.hosts["m1"].hold

    def slowly(holder: str) -> str | None:
        gevent.sleep(0)  # the other hosts' callbacks get as far as they can
        return hold(holder)

    fleet.hosts["m1"].hold = slowly  # type: ignore[method-assign]
    fleet.apply()
    assert "m2: another run is at work" in str(fleet.run.failure)
    assert (list(history(tmp_path)), Store(tmp_path).entries, fleet.done("act")) == ([], {}, [])
    assert fleet.hosts["m1"].held_by == ""


def test_certificates_are_issued_before_the_first_act(tmp_path: Path) -> None:
    seen: list[int] = []
    fleet = Fleet(tmp_path, _role())

    def look(state: Observed) -> Observed:
        seen.append(len(Store(tmp_path).entries))
        return state

    for host in fleet.hosts.values():
        host.acts = look
    fleet.apply()
    assert seen
    assert all(seen)
    assert "certificates" in {step for step, _ in fleet.run.changed}
    assert len([e for e in fleet.events if e.kind == "say" and e.text.startswith("issued")]) == 1


def test_a_host_that_fails_keeps_its_error_and_later_steps_do_not_run(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, _role())
    fleet.hosts["m2"].fails_at = "act"
    fleet.apply()
    assert str(fleet.run.failure) == "m2: act failed"
    assert [(e.host, e.text) for e in fleet.events if e.kind == "failed"] == [("m2", "m2: act failed")]
    before = list(fleet.log)
    with pytest.raises(Stopped, match="w1: not changed"):
        run_step(fleet.run, Step(title="later", run=lambda run, host: run.session.observe(host)), "w1")
    assert fleet.log == before


def test_a_failure_among_gated_hosts_stops_those_that_wait(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, _role(), serving=True)
    fleet.hosts["m1"].fails_at = "act"
    raised = fleet.apply()
    assert fleet.done("act") == ["m1"]
    assert [type(error) for error in raised[:3]] == [Failed, Stopped, Stopped]
    assert len([e for e in fleet.events if e.kind == "failed"]) == 1, "who was stopped is not reported as failed"


def test_gated_hosts_go_one_at_a_time_and_look_again_first(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, _role(), serving=True)
    at_work: list[str] = []

    def slowly(state: Observed) -> Observed:
        assert at_work == []
        at_work.append("one")
        gevent.sleep(0)  # lets the others go on, if they can
        at_work.pop()
        return carried_out(WANTED, state)

    for host in fleet.hosts.values():
        host.acts = slowly
    assert fleet.apply() == [None] * 5
    assert fleet.log[10:] == [(what, name) for name in ("m1", "m2", "m3") for what in ("observe", "act")]


def test_a_gated_host_whose_difference_is_gone_is_left(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, _role(), serving=True)
    run_step(fleet.run, steps(())[0], "m1")
    release = fleet.run.plan.release
    fleet.run.bundles[release.kubernetes, "amd64"] = fake_bundle(release)
    fleet.hosts["m1"].state = carried_out(WANTED, fleet.hosts["m1"].state)
    fleet.run.rollout.carry_out(fleet.run.waves[0], "m1")
    assert fleet.log == [("observe", "m1"), ("observe", "m1")]


def test_what_does_not_serve_yet_is_started_on_all_hosts_without_looking_a_third_time(fleet: Fleet) -> None:
    fleet.apply()
    assert len(fleet.done("observe")) == 10, "once to know, once under the lock"


def test_payloads_alone_are_sent_without_an_act(tmp_path: Path) -> None:
    payload = Payload(path="/opt/kubewright/x/1-a/x", sha256="a" * 64, size=1, mode=0o755, local=Path("/nonexistent"), packed=5)
    fleet = Fleet(tmp_path, _role(lambda _context: Desired(payloads=(payload,))), installed=())
    fleet.apply()
    assert fleet.hosts["m1"].pushed == [payload]
    assert fleet.done("act") == []


def test_payloads_are_there_before_anything_is_stopped(tmp_path: Path) -> None:
    payload = Payload(path="/opt/kubewright/x/1-a/x", sha256="a" * 64, size=1, mode=0o755, local=Path("/nonexistent"), packed=5)
    fleet = Fleet(tmp_path, _role(lambda _context: dataclasses.replace(WANTED, payloads=(payload,))), serving=True)
    fleet.apply()
    assert [what for what, name in fleet.log[10:] if name == "m1"] == ["observe", "push", "act"]


def test_unfit_and_silent_hosts_are_told_together_and_nothing_is_written(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, _role())
    fleet.hosts["m1"].fails_at = "observe"
    fleet.hosts["m2"].state = dataclasses.replace(fleet.hosts["m2"].state, os_id="fedora")
    fleet.hosts["w1"].state = dataclasses.replace(fleet.hosts["w1"].state, addresses=("127.0.0.1",))
    fleet.apply()
    assert isinstance(fleet.run.failure, HostsUnfit)
    assert [(p.where, p.what.split(" (")[0]) for p in fleet.run.failure.problems] == [
        ("m1", "observe failed"),
        ("m2", "an operating system that kubewright does not know"),
        ("w1", "no interface has its address"),
    ]
    assert fleet.done("act") == []
    assert list(tmp_path.iterdir()) == [], "no certificate was issued"


def test_hosts_are_checked_and_certificates_issued_once_a_run(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def obtain(release: Release, arch: str, *_rest: object, **_more: object) -> Bundle:
        asked.append(arch)
        return fake_bundle(release)

    monkeypatch.setattr(engine, "obtain_all", obtain)
    fleet.apply()
    assert asked == ["amd64"]


def test_what_changed_is_told_by_step_and_host(fleet: Fleet) -> None:
    fleet.apply()
    assert fleet.run.changed["x", "m1"] == ("write /etc/kubernetes/x", "start x.service")
    assert {e.host for e in fleet.events if e.kind == "changed"} == {"m1", "m2", "m3"}


def test_a_secret_is_read_from_the_store_only_for_the_host_that_needs_it(tmp_path: Path) -> None:
    def desired(context: Context) -> Desired:
        return Desired(files=(context.secret("service-account", "/etc/kubernetes/pki/sa.key"),))

    fleet = Fleet(tmp_path, _role(desired), installed=("file /etc/kubernetes/pki/sa.key",))
    fleet.apply()
    staged = fleet.hosts["m1"].staged[0].files
    assert staged["file.0"] == Store(tmp_path).key("service-account")
    assert b"PRIVATE" not in staged["act.sh"]
    assert isinstance(desired(fleet.run.context("m1")).files[0].content, Stored)


def _into_a_vault(fleet: Fleet, folder: Path) -> None:
    store = Store(folder, fleet.run.issuing.vault)
    with store.locked():
        store.recrypt(Vault(lambda: b"password"))


def test_with_a_vault_nothing_to_do_needs_no_password_and_neither_does_a_preview(fleet: Fleet, tmp_path: Path) -> None:
    fleet.apply()
    _into_a_vault(fleet, tmp_path)
    again = Fleet(tmp_path, _role())
    again.run.issuing.vault = again.run.issuing.store.vault = Vault(lambda: pytest.fail("asked"))
    for name, host in fleet.hosts.items():
        again.hosts[name].state = host.state
    again.apply()
    assert again.run.failure is None
    assert not again.run.issuing.due
    assert [again.run.changes_of(name)["x"].sentences() for name in again.hosts if "x" in again.run.changes_of(name)] == [()] * 3


def test_a_wrong_vault_password_is_told_before_the_lock_is_taken_and_nothing_changes(fleet: Fleet, tmp_path: Path) -> None:
    fleet.apply()
    _into_a_vault(fleet, tmp_path)
    before = (tmp_path / INDEX).read_bytes()
    again = Fleet(tmp_path, _role())
    again.run.issuing.vault = again.run.issuing.store.vault = Vault(lambda: b"another")
    again.apply()
    assert "the vault password is wrong" in str(again.run.failure)
    assert {what for what, _ in again.log} == {"observe"}
    assert not again.run.session.locked
    assert (tmp_path / INDEX).read_bytes() == before


def test_a_run_that_changes_something_says_that_keys_are_not_encrypted(fleet: Fleet) -> None:
    fleet.apply()
    assert len([e for e in fleet.events if e.kind == "say" and "not encrypted" in e.text]) == 1


def test_certificates_that_are_signed_elsewhere_stop_a_run_before_the_lock(fleet: Fleet, tmp_path: Path) -> None:
    elsewhere = Given(certificate=CHAIN, key=None)
    fleet.run.issuing.authorities = tuple(dataclasses.replace(a, given=elsewhere) for a in fleet.run.issuing.authorities)
    fleet.apply()
    assert "kubewright certs requests -o FOLDER" in str(fleet.run.failure)
    assert {what for what, _ in fleet.log} == {"observe"}
    assert (fleet.run.session.locked, Store(tmp_path).entries) == (False, {})


def test_an_error_that_is_not_ours_stops_the_run_too(tmp_path: Path) -> None:
    def broken(_context: Context) -> Desired:
        raise ZeroDivisionError

    fleet = Fleet(tmp_path, dataclasses.replace(_role(broken), runs_on=on_every_host))
    fleet.apply()
    assert isinstance(fleet.run.failure, ZeroDivisionError)
    assert fleet.done("act") == []


def _with_file(host: FakeHost, path: str) -> None:
    entry = Entry(kind="f", mode=0o600, owner="root", group="root", size=1, sha256="0" * 64)
    host.state = dataclasses.replace(host.state, entries={**host.state.entries, path: entry})


def test_a_key_that_hosts_have_is_never_replaced_by_a_new_one(fleet: Fleet, tmp_path: Path) -> None:
    _with_file(fleet.hosts["m2"], encryption.PATH)
    fleet.apply()
    assert isinstance(fleet.run.failure, Failed)
    assert str(fleet.run.failure).startswith(f"m2: there is an encryption key ({encryption.PATH})")
    assert "from their backup" in str(fleet.run.failure)
    assert fleet.done("act") == []
    assert Store(tmp_path).entries == {}


def test_a_cluster_with_data_reads_with_a_new_key_before_it_writes_with_it(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, _role())
    fleet.hosts["m1"].state = dataclasses.replace(
        fleet.hosts["m1"].state, started_with={"etcd.service": {"/x": "1"}}, etcd_data=True
    )
    fleet.apply()
    assert encryption.providers(Store(tmp_path).entries).writes == encryption.IDENTITY
    assert any("kubewright encryption rotate" in event.text for event in fleet.events)


def test_a_new_cluster_writes_with_its_key_from_the_beginning(fleet: Fleet, tmp_path: Path) -> None:
    fleet.apply()
    assert encryption.providers(Store(tmp_path).entries).names[1:] == (encryption.IDENTITY,)
    assert not any("encryption rotate" in event.text for event in fleet.events)


def test_hosts_without_room_for_what_is_sent_are_told_together_before_the_lock(tmp_path: Path) -> None:
    payload = Payload(path="/opt/kubewright/x/1-a/x", sha256="a" * 64, size=9 << 30, mode=0o755, local=Path("/x"), packed=5)
    fleet = Fleet(tmp_path, _role(lambda _context: Desired(payloads=(payload,))), installed=())
    fleet.apply()
    assert isinstance(fleet.run.failure, HostsUnfit)
    assert [problem.where for problem in fleet.run.failure.problems] == ["m1", "m2", "m3"]
    assert not fleet.run.session.locked
    assert {what for what, _ in fleet.log} == {"observe"}


def test_a_disk_that_filled_up_before_the_lock_was_taken_is_seen_under_it(tmp_path: Path) -> None:
    payload = Payload(path="/opt/kubewright/x/1-a/x", sha256="a" * 64, size=1 << 30, mode=0o755, local=Path("/x"), packed=5)
    fleet = Fleet(tmp_path, _role(lambda _context: Desired(payloads=(payload,))), installed=())
    host = fleet.hosts["m1"]
    host.hold = _full(host)  # type: ignore[method-assign,assignment]
    fleet.apply()
    assert isinstance(fleet.run.failure, HostsUnfit)
    assert fleet.done("push") == []


def _full(host: FakeHost) -> Callable[[str], str | None]:
    def hold(_holder: str) -> None:
        manifest = {"/opt/kubewright/x/1-a/x": ("a", 1)}  # not fresh any more: the larger minimum is for fresh hosts
        host.state = dataclasses.replace(host.state, free_kib={"/opt": 500 << 10}, manifest=manifest)

    return hold


def _tried(folder: Path, *causes: str) -> list[str]:
    """The hosts on which a restart of the unit is tried for longer, when its file has changed."""
    unit = dataclasses.replace(WANTED.units[0], trial=Trial(seconds=25, causes=causes))
    wanted = dataclasses.replace(WANTED, units=(unit,))
    fleet = Fleet(folder, _role(lambda _context: wanted), serving=True)
    assert fleet.apply() == [None] * 5
    staged = {name: host.staged[0].files["act.sh"] for name, host in fleet.hosts.items() if host.staged}
    return [name for name, script in staged.items() if b"\nstay_ready x.service 25 " in script]


def test_the_first_host_alone_is_looked_at_for_longer(tmp_path: Path) -> None:
    assert _tried(tmp_path, "/etc/kubernetes/x") == ["m1"]


def test_what_a_trial_is_not_about_is_not_looked_at_for_longer(tmp_path: Path) -> None:
    assert _tried(tmp_path, "/etc/kubernetes/y") == []


def test_what_pods_need_stops_only_while_the_other_nodes_are_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fleet = Fleet(tmp_path, dataclasses.replace(_role(), pods_need=True), serving=True)
    monkeypatch.setattr(nodes, "PATIENCE", -1)
    first = fleet.hosts["m1"]
    first.says, act = "m1 Ready=True\nw1 Ready=False\n.\n", first.acts

    def acts(state: Observed) -> Observed:
        first.says = "m1 DiskPressure=True Ready=True\nw1 Ready=False\n.\n"
        return act(state)

    first.acts = acts
    fleet.apply()
    assert fleet.done("act") == ["m1"]
    assert "m2: not restarted, because other nodes are unhealthy since the last change: m1 (DiskPressure)" in str(
        fleet.run.failure
    )


def _at_once(folder: Path, role: Role, move: Move | None = None) -> list[set[str]]:
    """The hosts that acted together, wave by wave."""
    fleet = Fleet(folder, dataclasses.replace(role, runs_on=on_every_host), serving=True)
    fleet.run.move = move
    acting: set[str] = set()
    seen: list[set[str]] = []

    def acts(name: str) -> Callable[[Observed], Observed]:
        def act(state: Observed) -> Observed:
            acting.add(name)
            gevent.sleep(0)
            seen.append(set(acting))
            acting.discard(name)
            return carried_out(WANTED, state)

        return act

    for name, host in fleet.hosts.items():
        host.acts = acts(name)
        host.state = dataclasses.replace(host.state, installed=INSTALLED, etcd_leads=False)
    assert fleet.apply() == [None] * 5, fleet.run.failure
    return [set(wave) for wave in dict.fromkeys(frozenset(s) for s in seen) if not any(wave < set(o) for o in seen)]


def test_after_the_first_host_a_share_of_them_restarts_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waves, "SHARE", 2)
    assert _at_once(tmp_path, _role()) == [{"m1"}, {"m2", "m3"}, {"w1", "w2"}]


def test_what_goes_one_at_a_time_never_restarts_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waves, "SHARE", 2)
    found = _at_once(tmp_path, dataclasses.replace(_role(), one_at_a_time=True))
    assert found == [{"m1"}, {"m2"}, {"m3"}, {"w1"}, {"w2"}]


@pytest.mark.parametrize(("most", "widest"), [(1, 1), (3, 3), (None, 2)])
def test_as_many_nodes_are_drained_at_once_as_the_move_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int | None, widest: int
) -> None:
    monkeypatch.setattr(waves, "SHARE", 2)
    move = Move(verb="upgrade", target=DEFAULT, max_unavailable=most) if most else None
    monkeypatch.setattr(snapshot, "take", lambda *_: None)
    unit = dataclasses.replace(WANTED.units[0], drained=True)
    wanted = dataclasses.replace(WANTED, units=(unit,))
    assert max(map(len, _at_once(tmp_path, _role(lambda _context: wanted), move))) == widest
