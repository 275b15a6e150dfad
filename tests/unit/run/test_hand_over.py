"""A leader that gives that up: who is held meanwhile, in which order, and what is left to the unit's own way."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace
from typing import cast

import pytest

from kubewright.plan.changes import Action, Changes, UnitChange
from kubewright.plan.desired import HandOver, Unit
from kubewright.run.hand_over import hand_over
from kubewright.run.run import Run
from roles.etcd.role import ROLE
from tests.support.fleet import FakeHost
from tests.support.hosts import fresh
from tests.support.scenarios import scenario

WAY = HandOver(choose="choose", hold="hold", give="give", release="release")


@dataclasses.dataclass
class World:
    leader: str = "m2"
    action: Action = Action.RESTART
    way: HandOver | None = WAY
    says: str = "8e9e05c52164694d\n"

    def __post_init__(self) -> None:
        self.log: list[tuple[str, str]] = []
        plan = scenario("lab").plan
        self.hosts = {n.name: FakeHost(name=n.name, state=fresh(), log=self.log, says=self.says) for n in plan.nodes}
        unit = Unit(name="etcd.service", hand_over=self.way)
        changes = Changes(units=(UnitChange(unit=unit, action=self.action, causes=(), record={}),))
        observed = {name: dataclasses.replace(fresh(), etcd_leads=name == self.leader) for name in self.hosts}
        self.run = SimpleNamespace(plan=plan, hosts=self.hosts, observed=observed, pending=lambda _role, _name: changes)

    def hand_over(self, name: str = "m2") -> dict[str, list[str]]:
        """What was run where."""
        hand_over(cast("Run", self.run), ROLE, name)
        return {host.name: host.scripts for host in self.hosts.values() if host.scripts}


def test_all_members_are_held_while_the_leader_gives() -> None:
    world = World()
    assert world.hand_over() == {
        "m1": ["hold", "release"],
        "m2": ["choose", "hold", "set -- 8e9e05c52164694d\ngive", "release"],
        "m3": ["hold", "release"],
    }
    order = [name for _, name in world.log]
    assert order[0] == "m2" and set(order[1:4]) == {"m1", "m2", "m3"} and order[4] == "m2"


@pytest.mark.parametrize(
    "world", [World(leader="m1"), World(action=Action.START), World(way=None)], ids=["no leader", "no restart", "no such way"]
)
def test_nobody_is_held_for_nothing(world: World) -> None:
    assert world.hand_over() == {}


def test_nobody_is_held_when_there_is_nobody_to_hand_over_to() -> None:
    assert World(says="").hand_over() == {"m2": ["choose"]}


def test_a_host_that_can_not_be_asked_is_no_reason_to_stop() -> None:
    """What it has to do itself shows that; a hold ends by itself."""
    world = World()
    world.hosts["m3"].fails_at = "shell"
    assert world.hand_over()["m1"] == ["hold", "release"]


def test_a_host_that_is_not_observed_is_not_asked() -> None:
    world = World()
    del world.run.observed["m3"]
    assert set(world.hand_over()) == {"m1", "m2"}
