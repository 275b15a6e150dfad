"""Hosts join and leave: the order of what is done, and what stops it."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deploy.waves import CLUSTER
from kubewright.cli import nodes
from kubewright.errors import BadInput, Failed, KubewrightError, Refused
from kubewright.model.certificates import hosts_of
from kubewright.model.cluster import Gone
from kubewright.observe.observed import UnitState
from kubewright.plan.membership import JOINS, LEAVES, REMOVES
from kubewright.plan.wave import roles_of
from kubewright.run import leadership
from kubewright.run.run import Run
from kubewright.run.session import Session
from kubewright.spec import load
from kubewright.verbs.apply import Summary
from kubewright.verbs.members import Members, Outcome, Wanted, _refuse_unknown, change
from pki.store import Store
from tests.support.fleet import FakeHost
from tests.support.live_hosts import api, etcd_answer, installed
from tests.support.scenarios import filled_store

HEAD = "name: prod\nhosts:\n"
HOSTS = {
    "m1": "192.0.2.11", "m2": "192.0.2.12", "m3": "192.0.2.13", "m4": "192.0.2.14", "w1": "192.0.2.31", "w2": "192.0.2.32",
}  # fmt: skip
RUNNING = {
    unit: UnitState(active="active", enabled="enabled") for unit in ("etcd.service", "kube-apiserver.service", "kubelet.service")
}


def _text(*names: str) -> str:
    roles = {"m": "master", "w": "worker"}
    return HEAD + "".join(f"  - {{name: {n}, address: {HOSTS[n]}, roles: [{roles[n[0]]}]}}\n" for n in names)


@dataclasses.dataclass(kw_only=True)
class Drained(FakeHost):
    """A host whose kubectl shows every node, and drains unless `refuses` says otherwise."""

    refuses: str = ""

    def shell(self, script: str) -> str:
        super().shell(script)
        if " get nodes " in script:
            return "".join(f"{name}\tv1.37.1\tTrue\t\t\n" for name in HOSTS)
        if " drain " in script:
            return f"{self.refuses}\nnot drained\n" if self.refuses else "node\ndrained\n"
        return "done\n"


class World:
    """An installed cluster in memory. `done`: what happened, in order."""

    def __init__(
        self, folder: Path, *names: str, wanted: Wanted, there: tuple[str, ...] = (), answers: tuple[str, ...] = ()
    ) -> None:
        self.folder, self.done = folder, list[str]()
        (folder / "cluster.yaml").write_text(_text(*names))
        spec = load(folder, leaving=wanted.leaving)
        out = frozenset(wanted.leaving) - {*answers} if wanted.dead else frozenset()
        self.session = Session(
            inventory=folder, spec=spec, roles=roles_of(CLUSTER), verb=wanted.verb, lasting=True, without=out & {*names}
        )
        plan = self.session.plan
        filled_store(plan, folder, dt.datetime.now(dt.UTC))
        before = dataclasses.replace(plan, nodes=tuple(n for n in plan.nodes if n.name in (there or names)))
        self.log: list[tuple[str, str]] = []
        for node in plan.nodes:
            state = installed(before, node)
            etcd = etcd_answer(before) if node.is_etcd else None
            state = dataclasses.replace(state, etcd=etcd, api=api(before, out), units=RUNNING)
            if node.name not in (there or names):
                state = dataclasses.replace(state, installed=(), etcd=None, api=None, units={})
            if node.name not in out:
                self.session.hosts[node.name] = Drained(name=node.name, state=state, log=self.log)
        self.session.observe_all()
        self.fails_in: Callable[[Run], bool] = lambda _run: False
        self.members = Members(session=self.session, waves=CLUSTER, wanted=wanted, bring=self._bring, wipe=self._wipe)

    def _bring(self, run: Run) -> Summary:
        names = {JOINS: "join", LEAVES: "leave", REMOVES: "remove"}.get(run.only, "run")
        self.done.append(f"{names} {' '.join(run.hosts)}")
        for name in run.hosts:
            self.session.see(name)
        failure = Failed("m1: it failed") if self.fails_in(run) else None
        return Summary(
            changed={}, undone={}, unmanaged=(), without=(), seconds={}, total=0.0, commands={}, sent={}, failure=failure
        )

    def _wipe(self, name: str) -> None:
        self.done.append(f"wipe {name}")

    def rows(self) -> frozenset[str]:
        return hosts_of(Store(self.folder).entries, "kubelet-client")

    def host(self, name: str) -> Drained:
        found: Any = self.session.everyone[name]
        assert isinstance(found, Drained)
        return found


@pytest.fixture(autouse=True)
def _no_bundles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leadership, "hand_over", lambda _run, _role, _name: None)


def test_masters_that_leave_are_drained_removed_emptied_and_forgotten(tmp_path: Path) -> None:
    world = World(tmp_path, "m1", "m2", "m3", "w1", wanted=Wanted(verb="node remove", leaving=("m2", "m3")))
    outcome = world.members.carry_out()
    assert world.done == ["run m1 m2 m3 w1", "leave m1 w1", "wipe m2", "wipe m3", "run m1 w1"]
    assert outcome.failure is None and outcome.edited
    assert world.rows() == {"m1", "w1"}
    assert (tmp_path / "cluster.yaml").read_text() == _text("m1", "w1")
    drains = [script for script in world.host("m1").scripts if " drain " in script]
    assert len(drains) == 2 and "drain m2" in drains[0] and "drain m3" in drains[1]


def test_an_emptied_host_gets_no_line_of_the_journal_any_more(tmp_path: Path) -> None:
    world = World(tmp_path, "m1", "m2", "m3", "w1", wanted=Wanted(verb="node remove", leaving=("m2", "m3")))
    world.members.carry_out()
    world.session.end()
    assert [len(world.host(name).recorded) for name in ("m1", "m2", "m3")] == [2, 1, 1]


def test_a_node_that_can_t_be_drained_stops_the_command_and_takes_pods_again(tmp_path: Path) -> None:
    world = World(tmp_path, "m1", "w1", "w2", wanted=Wanted(verb="node remove", leaving=("w2",), seconds=40))
    world.host("m1").refuses = "error: cannot delete Pods"
    with pytest.raises(Failed, match="w2: its node can't be drained"):
        world.members.carry_out()
    assert world.done == [] and world.rows() == {"m1", "w1", "w2"}
    assert "uncordon w2" in world.host("m1").scripts[-1]
    assert "w2" in (tmp_path / "cluster.yaml").read_text()


def test_a_run_that_fails_is_the_last_thing_done(tmp_path: Path) -> None:
    world = World(tmp_path, "m1", "m2", "m3", "w1", wanted=Wanted(verb="node remove", leaving=("m2", "m3")))
    world.fails_in = lambda run: run.only == LEAVES
    outcome = world.members.carry_out()
    assert str(outcome.failure) == "m1: it failed"
    assert world.done == ["run m1 m2 m3 w1", "leave m1 w1"] and world.rows() == {"m1", "m2", "m3", "w1"}
    assert "m3" in (tmp_path / "cluster.yaml").read_text()


def test_a_dead_host_is_neither_asked_nor_drained_nor_emptied(tmp_path: Path) -> None:
    wanted = Wanted(verb="node replace", leaving=("m3",), joining=("m4",), dead=True)
    world = World(tmp_path, "m1", "m2", "m3", "w1", "m4", wanted=wanted, there=("m1", "m2", "m3", "w1"))
    outcome = world.members.carry_out()
    assert world.done == ["remove m1 m2 w1", "join m1 m2 w1 m4", "run m1 m2 w1 m4"]
    assert any("rotate-service-account" in line for line in outcome.held["m3"])
    assert not any(name == "m3" for _, name in world.log)
    assert not any(" drain " in script for script in world.host("m1").scripts)


def test_of_hosts_that_leave_only_those_that_do_not_answer_are_dead(tmp_path: Path) -> None:
    wanted = Wanted(verb="node remove", leaving=("m2", "m3"), dead=True)
    world = World(tmp_path, "m1", "m2", "m3", "w1", wanted=wanted, answers=("m3",))
    outcome = world.members.carry_out()
    assert world.done == ["remove m1 m3 w1", "run m1 m3 w1", "leave m1 w1", "wipe m3", "run m1 w1"]
    assert [any("rotate-ca" in line for line in outcome.held[name]) for name in ("m2", "m3")] == [True, False]


def test_a_host_that_was_emptied_before_the_command_was_killed_is_not_called_unsafe(tmp_path: Path) -> None:
    world = World(tmp_path, "m1", "w1", "w2", wanted=Wanted(verb="node remove", leaving=("w2",)), there=("m1", "w1"))
    outcome = world.members.carry_out()
    assert world.done == ["run m1 w1"] and outcome.edited
    assert not any("rotate-ca" in line for line in outcome.held["w2"])


def test_a_host_whose_node_is_ready_is_not_dead(tmp_path: Path) -> None:
    wanted = Wanted(verb="node remove", leaving=("w2",), dead=True)
    world = World(tmp_path, "m1", "w1", "w2", wanted=wanted)
    observed, plan = world.session.observed, world.session.plan
    observed["m1"] = dataclasses.replace(observed["m1"], api=api(plan))
    with pytest.raises(Refused, match="w2: its node is Ready, so it runs pods"):
        world.members.carry_out()
    assert world.done == []


def test_nothing_is_done_when_the_steps_are_not_accepted(tmp_path: Path) -> None:
    world = World(tmp_path, "m1", "w1", "w2", wanted=Wanted(verb="node remove", leaving=("w2",)))
    seen: list[Outcome] = []

    def refuse(outcome: Outcome) -> bool:
        seen.append(outcome)
        return False

    world.members.carry_out(refuse)
    assert world.done == [] and world.session.journal is None and not world.session.locked
    assert seen[0].steps[0].title == "drain w2"


@pytest.mark.parametrize("lacks", ["etcd", "api"])
def test_without_an_answer_of_the_cluster_nothing_is_done(tmp_path: Path, lacks: str) -> None:
    world = World(tmp_path, "m1", "w1", "w2", wanted=Wanted(verb="node remove", leaving=("w2",)))
    observed, nothing = world.session.observed, {lacks: None}
    for name in list(observed):
        observed[name] = dataclasses.replace(observed[name], **nothing)  # type: ignore[arg-type]
    with pytest.raises(Failed, match="does not answer on any host"):
        world.members.carry_out()
    assert world.done == []


def test_a_ready_node_that_cluster_yaml_does_not_name_is_put_back_first(tmp_path: Path) -> None:
    world = World(tmp_path, "m1", "w1", wanted=Wanted(verb="node remove", leaving=("w2",)))
    world.members.strangers = (Gone(name="w2", address=HOSTS["w2"]),)
    nodes = dataclasses.replace(world.session.plan, nodes=load_plan(tmp_path / "all", "m1", "w1", "w2"))
    observed = world.session.observed
    observed["m1"] = dataclasses.replace(observed["m1"], api=api(nodes))
    with pytest.raises(KubewrightError, match=r"put it back into cluster\.yaml") as raised:
        world.members.carry_out()
    assert isinstance(raised.value, Refused) and "kubewright node remove w2 --dead" in str(raised.value)


def load_plan(folder: Path, *names: str) -> Any:
    folder.mkdir()
    (folder / "cluster.yaml").write_text(_text(*names))
    return Session(inventory=folder, spec=load(folder), roles=()).plan.nodes


def test_a_rebuilt_host_leaves_and_joins_under_its_name_with_new_certificates(tmp_path: Path) -> None:
    world = World(tmp_path, "m1", "m2", "m3", "w1", wanted=Wanted(verb="node replace", replaced=("m2",)))
    host = world.host("m2")
    host.state = dataclasses.replace(host.state, installed=(), etcd=None, api=None, units={})
    world.session.observe_all()
    world.members.carry_out()
    assert world.done == ["remove m1 m3 w1", "join m1 m2 m3 w1", "run m1 m2 m3 w1"]
    assert world.rows() == {"m1", "m3", "w1"}, "the next run issues them"
    assert any("rm -rf /var/lib/etcd/member" in script for script in world.host("m2").scripts)


def test_a_host_that_serves_is_not_taken_for_a_rebuilt_one(tmp_path: Path) -> None:
    world = World(tmp_path, "m1", "m2", "m3", "w1", wanted=Wanted(verb="node replace", replaced=("m2",)))
    world.members.carry_out()
    assert world.done == ["run m1 m2 m3 w1"]


def test_an_upgrade_that_has_not_ended_is_told_before_a_node_is_drained_or_emptied(tmp_path: Path) -> None:
    world = World(tmp_path, "m1", "w1", "w2", wanted=Wanted(verb="node remove", leaving=("w2",)))
    w1 = world.session.observed["w1"]
    earlier = {
        path: dataclasses.replace(e, target=e.target.replace("/1.37.", "/1.36.")) if e.kind == "l" else e
        for path, e in w1.entries.items()
    }
    world.session.observed["w1"] = dataclasses.replace(w1, entries=earlier)
    with pytest.raises(Refused, match="kubewright upgrade"):
        world.members.carry_out()
    assert world.done == [] and not any(" drain " in script for script in world.host("m1").scripts)


def test_a_host_that_leaves_may_have_another_release(tmp_path: Path) -> None:
    world = World(tmp_path, "m1", "w1", "w2", wanted=Wanted(verb="node remove", leaving=("w2",)))
    w2 = world.session.observed["w2"]
    earlier = {
        path: dataclasses.replace(e, target=e.target.replace("/1.37.", "/1.36.")) if e.kind == "l" else e
        for path, e in w2.entries.items()
    }
    world.session.observed["w2"] = dataclasses.replace(w2, entries=earlier)
    world.members.carry_out()
    assert world.done == ["wipe w2", "run m1 w1"]


def test_another_host_that_cluster_yaml_does_not_name_is_told_before_anything_is_done(tmp_path: Path) -> None:
    world = World(tmp_path, "m1", "w1", wanted=Wanted(verb="node remove", leaving=("w1",)))
    nodes = dataclasses.replace(world.session.plan, nodes=load_plan(tmp_path / "all", "m1", "w1", "w2"))
    filled_store(nodes, tmp_path, dt.datetime.now(dt.UTC))
    observed = world.session.observed
    observed["m1"] = dataclasses.replace(observed["m1"], api=api(nodes))
    with pytest.raises(Refused, match="w2: a node that is Ready is not in"):
        world.members.carry_out()
    assert world.done == []


@pytest.mark.parametrize(
    ("lacks", "says"), [("api", "no apiserver of a master that stays"), ("etcd", "etcd does not answer on most")]
)
def test_clients_do_not_turn_to_a_master_that_does_not_serve(tmp_path: Path, lacks: str, says: str) -> None:
    world = World(tmp_path, "m1", "m2", "m3", "w1", wanted=Wanted(verb="node remove", leaving=("m2", "m3")))
    nothing: dict[str, Any] = {lacks: None}
    world.session.observed["m1"] = dataclasses.replace(world.session.observed["m1"], **nothing)
    with pytest.raises(Refused, match=f"m1: {says}"):
        world.members.carry_out()
    assert world.done == []


def test_a_new_member_is_not_left_out(tmp_path: Path) -> None:
    wanted = Wanted(verb="node add")
    world = World(tmp_path, "m1", "m2", "m3", "w1", wanted=wanted, there=("m1", "w1"))
    world.session.without = frozenset({"m3"})
    with pytest.raises(Refused, match="m3: it joins etcd, and is left out"):
        world.members.carry_out()
    assert world.done == []


def test_a_host_of_which_only_certificates_are_left_can_still_be_named(tmp_path: Path) -> None:
    (tmp_path / "cluster.yaml").write_text(_text("m1", "w1"))
    filled_store(Session(inventory=tmp_path, spec=load(tmp_path), roles=()).plan, tmp_path, dt.datetime.now(dt.UTC))
    (tmp_path / "cluster.yaml").write_text(_text("m1"))
    wanted = Wanted(verb="node remove", leaving=("w1",), dead=True)
    found = _refuse_unknown(tmp_path, load(tmp_path), wanted, frozenset())
    assert found == (Gone(name="w1", address=""),)
    with pytest.raises(BadInput, match=r"no such host \(w2\)"):
        _refuse_unknown(tmp_path, load(tmp_path), Wanted(verb="node remove", leaving=("w2",)), frozenset())


@pytest.mark.parametrize(
    ("wanted", "out", "says"),
    [
        (Wanted(verb="node remove", leaving=("w1",)), "w1", r"it is left out, too \(w1\)"),
        (Wanted(verb="node replace", replaced=("w1",)), "w1", r"it is left out, too \(w1\)"),
        (Wanted(verb="node remove", leaving=("m2", "m3")), "m1", "etcd would have 0 of 1 members"),
    ],
)  # fmt: skip
def test_what_leaves_or_stays_alone_can_t_be_left_out(tmp_path: Path, wanted: Wanted, out: str, says: str) -> None:
    (tmp_path / "cluster.yaml").write_text(_text("m1", "m2", "m3", "w1"))
    with pytest.raises(BadInput, match=says):
        change(tmp_path, CLUSTER, lambda _event: None, wanted, without_hosts=(out,))


def test_the_old_disk_of_a_rebuilt_host_is_named_with_what_ends_its_keys(tmp_path: Path) -> None:
    world = World(tmp_path, "m1", "m2", "m3", "w1", wanted=Wanted(verb="node replace", replaced=("m2",)))
    host = world.host("m2")
    host.state = dataclasses.replace(host.state, installed=(), etcd=None, api=None, units={})
    world.session.observe_all()
    outcome = world.members.carry_out()
    assert any("rotate-service-account" in line for line in outcome.held["m2"]) and outcome.valid == {"m2"}


def test_only_keys_that_are_left_somewhere_are_told_again_at_the_end(tmp_path: Path) -> None:
    wanted = Wanted(verb="node remove", leaving=("m2", "m3"), dead=True)
    world = World(tmp_path, "m1", "m2", "m3", "w1", wanted=wanted, answers=("m3",))
    outcome = world.members.carry_out()
    assert outcome.held.keys() == {"m2", "m3"} and outcome.valid == {"m2"}


def test_what_is_still_valid_is_printed_again_at_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    outcome = Outcome(held={"m2": ("kubewright certs rotate-ca etcd -i INVENTORY",), "m3": ("x",)}, valid=frozenset({"m2"}))
    nodes._tell(outcome, Path("prod"), outcome.valid, had="had", err=True)
    assert capsys.readouterr().err == "what m2 had:\n   kubewright certs rotate-ca etcd -i prod\n"


def test_steps_that_the_cluster_has_overtaken_are_not_carried_out(tmp_path: Path) -> None:
    world = World(tmp_path, "m1", "m2", "m3", "w1", wanted=Wanted(verb="node remove", leaving=("m2", "m3")))

    def meanwhile(_outcome: Outcome) -> bool:
        for name in ("m1", "m2", "m3"):
            host = world.host(name)
            assert host.state.etcd is not None
            members = tuple(m for m in host.state.etcd.members if m.name != "m3")
            host.state = dataclasses.replace(host.state, etcd=dataclasses.replace(host.state.etcd, members=members))
        return True

    with pytest.raises(Failed, match="the cluster has changed since the steps were shown"):
        world.members.carry_out(meanwhile)
    assert world.done == [] and world.session.locked


def test_a_host_with_the_data_of_a_removed_member_does_not_join_with_it(tmp_path: Path) -> None:
    world = World(tmp_path, "m1", "m2", "m3", "w1", wanted=Wanted(verb="node add"), there=("m1", "w1"))
    m3 = world.session.observed["m3"]
    world.session.observed["m3"] = dataclasses.replace(m3, etcd_data=True)
    with pytest.raises(Refused, match="m3: it is no member of etcd, and has the data of one"):
        world.members.carry_out()
    assert world.done == []


@pytest.mark.parametrize(
    ("wanted", "saved"),
    [
        (Wanted(verb="node remove", leaving=("m2", "m3")), ["saved", "run m1 m2 m3 w1"]),
        (Wanted(verb="node remove", leaving=("w1",)), ["wipe w1"]),
    ],
    ids=["members", "a worker"],
)
def test_etcd_is_saved_before_members_leave_it(tmp_path: Path, wanted: Wanted, saved: list[str]) -> None:
    world = World(tmp_path, "m1", "m2", "m3", "w1", wanted=wanted)
    world.members.save = lambda: world.done.append("saved")
    world.members.carry_out()
    assert world.done[: len(saved)] == saved


def test_no_member_leaves_etcd_when_it_can_t_be_saved(tmp_path: Path) -> None:
    world = World(tmp_path, "m1", "m2", "m3", "w1", wanted=Wanted(verb="node remove", leaving=("m2", "m3")))

    def fails() -> None:
        raise Failed("no etcd member gives a snapshot")

    world.members.save = fails
    with pytest.raises(Failed, match="gives a snapshot"):
        world.members.carry_out()
    assert world.done == []


def test_a_host_whose_member_does_not_answer_is_drained_and_leaves_before_the_new_one_joins(tmp_path: Path) -> None:
    wanted = Wanted(verb="node replace", leaving=("m3",), joining=("m4",))
    world = World(tmp_path, "m1", "m2", "m3", "w1", "m4", wanted=wanted, there=("m1", "m2", "m3", "w1"))
    host = world.host("m3")
    host.state = dataclasses.replace(host.state, etcd=None)
    world.session.observe_all()
    outcome = world.members.carry_out()
    assert [step.title for step in outcome.steps][:2] == ["drain m3", "take m3 out of etcd and the API"]
    assert world.done == ["remove m1 m2 w1", "join m1 m2 w1 m4", "wipe m3", "run m1 m2 w1 m4"]
    assert not any("rotate-ca" in line for line in outcome.held["m3"])


def test_a_reinstalled_host_that_has_its_data_stays_a_member(tmp_path: Path) -> None:
    world = World(tmp_path, "m1", "m2", "m3", "w1", wanted=Wanted(verb="node replace", replaced=("m2",)))
    host = world.host("m2")
    host.state = dataclasses.replace(host.state, installed=(), etcd=None, api=None, units={}, etcd_data=True)
    world.session.observe_all()
    outcome = world.members.carry_out()
    assert world.done == ["run m1 m2 m3 w1"] and world.rows() == {"m1", "m2", "m3", "w1"}
    assert outcome.valid == {"m2"}
