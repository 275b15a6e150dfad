"""Transfer of etcd's leadership: where traffic is dropped, in which order, and what is left to the unit itself."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace
from typing import cast

import pytest

from kubewright.plan.changes import Action, Changes, UnitChange
from kubewright.plan.desired import Transfer, Unit
from kubewright.run.leadership import transfer
from kubewright.run.run import Run
from roles.etcd.role import ROLE
from tests.support.fleet import FakeHost
from tests.support.hosts import fresh
from tests.support.scenarios import scenario

WAY = Transfer(choose="choose", drop="drop", move="move", admit="admit")


@dataclasses.dataclass
class World:
    leader: str = "m2"
    action: Action = Action.RESTART
    way: Transfer | None = WAY
    says: str = "8e9e05c52164694d\n"

    def __post_init__(self) -> None:
        self.log: list[tuple[str, str]] = []
        plan = scenario("lab").plan
        self.hosts = {n.name: FakeHost(name=n.name, state=fresh(), log=self.log, says=self.says) for n in plan.nodes}
        unit = Unit(name="etcd.service", transfer=self.way)
        changes = Changes(units=(UnitChange(unit=unit, action=self.action, causes=(), record={}),))
        observed = {name: dataclasses.replace(fresh(), etcd_leads=name == self.leader) for name in self.hosts}
        self.run = SimpleNamespace(plan=plan, hosts=self.hosts, observed=observed, pending=lambda _role, _name: changes)

    def transferred(self, name: str = "m2") -> dict[str, list[str]]:
        """What was run where."""
        transfer(cast("Run", self.run), ROLE, name)
        return {host.name: host.scripts for host in self.hosts.values() if host.scripts}


def test_all_members_drop_traffic_while_leadership_moves() -> None:
    world = World()
    assert world.transferred() == {
        "m1": ["drop", "admit"],
        "m2": ["choose", "drop", "set -- 8e9e05c52164694d\nmove", "admit"],
        "m3": ["drop", "admit"],
    }
    order = [name for _, name in world.log]
    assert order[0] == "m2" and set(order[1:4]) == {"m1", "m2", "m3"} and order[4] == "m2"


@pytest.mark.parametrize(
    "world", [World(leader="m1"), World(action=Action.START), World(way=None)], ids=["no leader", "no restart", "no such way"]
)
def test_traffic_is_not_dropped_without_need(world: World) -> None:
    assert world.transferred() == {}


def test_traffic_is_not_dropped_when_no_other_member_can_lead() -> None:
    assert World(says="").transferred() == {"m2": ["choose"]}


def test_a_host_that_does_not_answer_does_not_stop_the_transfer() -> None:
    """Its own restart shows the fault; a drop ends by itself."""
    world = World()
    world.hosts["m3"].fails_at = "shell"
    assert world.transferred()["m1"] == ["drop", "admit"]


def test_a_host_that_is_not_observed_is_not_asked() -> None:
    world = World()
    del world.run.observed["m3"]
    assert set(world.transferred()) == {"m1", "m2"}
