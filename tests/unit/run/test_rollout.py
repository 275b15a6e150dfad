"""A wave of several roles: hosts are the outer loop, so a host is finished before the next one is touched."""

from __future__ import annotations

import dataclasses
import re
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import gevent
import pytest

from kubewright.hosts.script import Staged
from kubewright.observe.objects import Listed, Ref
from kubewright.observe.observed import UnitState
from kubewright.plan import leftovers
from kubewright.plan.cluster_tasks import cluster_task
from kubewright.plan.desired import Desired, File, Unit
from kubewright.plan.move import Move
from kubewright.plan.role import Role, on_masters
from kubewright.plan.wave import roles_of, wave
from kubewright.releases import DEFAULT
from kubewright.run import drain
from kubewright.run import run as engine
from kubewright.run.events import Event
from kubewright.run.run import Run
from kubewright.run.session import Session
from kubewright.run.steps import run_step, steps
from kubewright.verbs.apply import _counts
from tests.support.fleet import FakeHost
from tests.support.hosts import carried_out
from tests.support.live_hosts import api
from tests.support.scenarios import fake_bundle, inventory, scenario

NAMES = ("runtime", "node", "proxy")
WANTED = {
    name: Desired(
        files=(File(path=f"/etc/kubernetes/{name}", content=b"new\n", restarts=(f"{name}.service",)),),
        units=(Unit(name=f"{name}.service", gate="true", ready="true", drained=name == "node"),),
    )
    for name in NAMES
}
EVERYTHING = Desired(
    files=tuple(file for part in WANTED.values() for file in part.files),
    units=tuple(unit for part in WANTED.values() for unit in part.units),
)


def _role(name: str) -> Role:
    return Role(name=name, runs_on=on_masters, units=(f"{name}.service",), desired=lambda _context: WANTED[name])


class Fleet:
    """Three masters on which three units serve with files of an earlier plan. `log`: (what, host), acts by their role."""

    def __init__(self, folder: Path, *, serving: bool = True) -> None:
        self.events: list[Event] = []
        self.log: list[tuple[str, str]] = []
        session = Session(inventory=folder, spec=inventory("lab"), roles=tuple(map(_role, NAMES)), notify=self.events.append)
        self.run = Run(session=session, waves=(wave(*map(_role, NAMES), title="nodes"),))
        made = scenario("lab")
        for node in made.plan.nodes:
            state = dataclasses.replace(made.observed(node.name), clock=time.time(), etcd_leads=False)
            if node.is_master:
                state = dataclasses.replace(state, installed=tuple(sorted(leftovers.wanted(WANTED.values()))))
            if node.is_master and serving:
                units = {f"{name}.service": UnitState(active="active", enabled="enabled") for name in NAMES}
                before = {f"{name}.service": {f"/etc/kubernetes/{name}": "0" * 64} for name in NAMES}
                state = dataclasses.replace(state, units=units, started_with=before)
            session.hosts[node.name] = Host(name=node.name, state=state, log=self.log)

    def host(self, name: str) -> Host:
        host = self.run.hosts[name]
        assert isinstance(host, Host)
        return host

    def apply(self) -> Exception | None:
        for step in steps(self.run.waves):
            gevent.joinall([gevent.spawn(run_step, self.run, step, name) for name in self.run.hosts])
        return self.run.failure

    @property
    def acts(self) -> list[str]:
        return [f"{what} on {name}" for what, name in self.log if what in (*NAMES, "drain", "refill", "records")]


@dataclasses.dataclass(kw_only=True)
class Host(FakeHost):
    """Its acts are logged by role, and lead to what that role wants."""

    fails_in: str = ""
    refuses: bytes = b""
    """Fails when it gets this text."""

    def act(self, staged: Staged) -> None:
        script = staged.files["act.sh"].decode()
        role = next((name for name in NAMES if f"/etc/kubernetes/{name} " in script), "records")
        self.log.append((role, self.name))
        self.staged.append(staged)
        if self.refuses and any(self.refuses in text for text in staged.files.values()):
            raise RuntimeError(f"{self.name}: refused")
        if role == self.fails_in:
            raise RuntimeError(f"{self.name}: {role} failed")
        if role != "records":
            gevent.sleep(0)  # lets other hosts begin, if they may
            self.state = carried_out(WANTED[role], self.state)


@pytest.fixture(autouse=True)
def _no_downloads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "obtain_all", lambda release, *_a, **_k: fake_bundle(release))


def test_a_host_gets_every_role_before_the_next_host_is_touched(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path)
    assert fleet.apply() is None
    assert fleet.acts == [f"{role} on {host}" for host in ("m1", "m2", "m3") for role in NAMES]


def test_the_summary_counts_the_changes_of_all_roles_of_a_wave(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path)
    fleet.apply()
    found = _counts(fleet.run)
    assert set(found) == {"begin", "nodes"}
    assert found["nodes"] == 3 * 3 * 2, "a file and a unit for each role on each host"


def test_hosts_on_which_nothing_serves_yet_go_at_once_each_in_the_order_of_the_roles(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, serving=False)
    assert fleet.apply() is None
    assert {act.rpartition(" ")[2] for act in fleet.acts[:3]} == {"m1", "m2", "m3"}
    for host in ("m1", "m2", "m3"):
        assert [act for act in fleet.acts if act.endswith(host)] == [f"{role} on {host}" for role in NAMES]


def test_a_host_is_looked_at_once_more_before_its_first_restart_not_before_each(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path)
    fleet.apply()
    looks = [name for what, name in fleet.log[10:] if what == "observe"]
    assert looks == ["m1", "m2", "m3"]


def test_a_role_that_fails_ends_the_wave_on_its_host_and_on_those_that_wait(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path)
    fleet.host("m1").fails_in = "node"
    assert str(fleet.apply()) == "m1: node failed"
    assert fleet.acts == ["runtime on m1", "node on m1"]
    assert [(event.step, event.host) for event in fleet.events if event.kind == "failed"] == [("node", "m1")]


def test_a_failure_of_a_last_wave_keeps_no_leftover_in_force(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path)
    ref = Ref(kind="RoleBinding", namespace="team", name="edit")
    binding = Listed(ref=ref, uid="u", task="workgroups", applied="x", owned=True)
    task = cluster_task("mine", "apply mine", b"kind: ConfigMap\nmetadata: {name: broken, namespace: demo}\n")
    role = Role(
        name="mine", runs_on=on_masters, desired=lambda context: Desired(tasks=(task,) if context.acts_for_masters else ())
    )
    fleet.run.waves = (wave(role, last=True), *fleet.run.waves)
    fleet.run.roles = roles_of(fleet.run.waves)
    host = fleet.host("m1")
    before = host.state
    host.state = dataclasses.replace(
        before,
        objects=(binding,),
        facts={**before.facts, str(ref): "x"},
        installed=(*before.installed, "file /etc/old"),
    )
    host.refuses = b'"broken"'
    assert str(fleet.apply()) == "m1: refused"
    *_, removing, refused = [b"\n".join(staged.files.values()) for staged in host.staged]
    assert b"DELETE" in removing and ref.path.encode() in removing and b"rm -f /etc/old" in removing
    assert host.refuses in refused


def _draining(monkeypatch: pytest.MonkeyPatch, fleet: Fleet, *, most: int = 1, held: frozenset[str] = frozenset()) -> None:
    def log(what: str) -> Callable[..., bool]:
        def call(_run: Run, name: str, *_: object) -> bool:
            fleet.log.append((what, name))
            return True

        return call

    fleet.run.move = Move(verb="upgrade", target=DEFAULT, max_unavailable=most)
    monkeypatch.setattr(drain, "held", lambda _run: held)
    monkeypatch.setattr("kubewright.run.snapshot.take", lambda _session, _failed: None)
    monkeypatch.setattr(drain, "empty", log("drain"))
    monkeypatch.setattr(drain, "refill", log("refill"))


def test_a_node_is_drained_once_around_all_its_restarts_and_remembered_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet = Fleet(tmp_path)
    _draining(monkeypatch, fleet)
    assert fleet.apply() is None
    assert fleet.acts[:6] == [f"{what} on m1" for what in ("drain", *NAMES, "refill", "records")]
    remembers = {role: _remembers(staged) for role, staged in zip((*NAMES, "records"), fleet.host("m1").staged, strict=True)}
    assert remembers == {
        "runtime": ["runtime.service"],
        "node": [],  # a run that is killed before the node takes pods drains it again
        "proxy": ["proxy.service"],
        "records": ["node.service"],
    }


def _of_kubelets(fleet: Fleet, *, answers: bool = True) -> None:
    """The wave is that of the kubelets. `answers`: whether the API does when the run begins."""
    kubelet = tuple(dataclasses.replace(role, units=(*role.units, "kubelet.service")) for role in fleet.run.waves[0].roles)
    fleet.run.waves = (wave(*kubelet, title="nodes"), *fleet.run.waves[1:])
    plan = scenario("lab").plan
    for node in plan.masters if answers else ():
        host = fleet.host(node.name)
        host.state = dataclasses.replace(host.state, api=api(plan))


def test_an_upgrade_that_began_without_the_api_asks_again_before_nodes_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was killed while the only apiserver was stopped: a node that the API does not show would not be drained."""
    fleet = Fleet(tmp_path)
    _of_kubelets(fleet, answers=False)
    _draining(monkeypatch, fleet)
    asked: list[list[str]] = []
    monkeypatch.setattr(fleet.run, "learn", lambda names: asked.append(list(names)))
    assert fleet.apply() is None
    assert list(fleet.run.observed) in asked


def test_a_node_that_an_interrupted_run_left_cordoned_goes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fleet = Fleet(tmp_path)
    _of_kubelets(fleet)
    _draining(monkeypatch, fleet, held=frozenset({"m3"}))
    assert fleet.apply() is None
    assert [act for act in fleet.acts if act.startswith("drain")] == ["drain on m3", "drain on m1", "drain on m2"]


def test_a_held_node_on_which_nothing_is_left_to_do_takes_pods_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An upgrade had drained it, and a rollback finds its kubelet as it wants it."""
    fleet = Fleet(tmp_path)
    _of_kubelets(fleet)
    _draining(monkeypatch, fleet, held=frozenset({"w1"}))
    assert fleet.apply() is None
    assert fleet.acts[:2] == ["refill on w1", "drain on m1"]


def test_a_drained_node_takes_pods_again_when_another_host_fails_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet = Fleet(tmp_path)
    _draining(monkeypatch, fleet, most=2)
    fleet.host("m2").fails_in = "node"
    assert str(fleet.apply()) == "m2: node failed"
    later = [act for act in fleet.acts if not act.endswith("m1")]
    assert "refill on m3" in later, "nothing is wrong with it"
    assert "refill on m2" not in later, "it may be broken: the next run goes on there"
    assert "records on m3" not in later and "node on m3" not in later


def _remembers(staged: Staged) -> list[str]:
    """The units of which it is written down what they were started with."""
    return re.findall(r"^place started\.\d+ \S+/started/(\S+)", staged.files["act.sh"].decode(), re.MULTILINE)


def test_the_batch_is_as_narrow_as_the_narrowest_role_that_restarts(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path)
    many = SimpleNamespace(nodes=[SimpleNamespace(is_master=True)] * 40)
    for role, width in (("runtime", 4), ("node", 1)):
        found = tuple(
            dataclasses.replace(each, one_at_a_time=each.name == role and width == 1) for each in fleet.run.waves[0].roles
        )
        run = SimpleNamespace(plan=many, pending=lambda _role, _name: SimpleNamespace(gated=True, units=()), move=None)
        fleet.run.rollout._run = run  # type: ignore[assignment]
        assert fleet.run.rollout._width(wave(*found), ["m1"]) == width


def test_a_wave_that_was_carried_out_is_not_carried_out_again(tmp_path: Path) -> None:
    fleet, again = Fleet(tmp_path), Fleet(tmp_path)
    fleet.apply()
    for name in fleet.run.hosts:
        again.host(name).state = fleet.host(name).state
    assert again.apply() is None
    assert again.acts == []
