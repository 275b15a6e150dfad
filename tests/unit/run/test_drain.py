"""A node is drained before its kubelet gets another version, and takes pods again afterwards unless somebody else cordoned it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import cast

import pytest

from kubewright.errors import Failed
from kubewright.observe.live import Api, LiveNode
from kubewright.plan.changes import Action, Changes, UnitChange
from kubewright.plan.desired import Unit
from kubewright.plan.move import Move
from kubewright.run import drain
from kubewright.run.run import Run
from kubewright.run.session import Session
from tests.support.scenarios import scenario

PLAN = scenario("lab").plan
NEW = PLAN.release.kubernetes
KUBELET = Unit(name="kubelet.service", drained=True)
MOVE = Move(verb="upgrade", target=PLAN.release)


def _changes(action: Action = Action.RESTART, unit: Unit = KUBELET) -> Changes:
    return Changes(units=(UnitChange(unit=unit, action=action, causes=(), record={}),))


@dataclass
class Node:
    version: str = "1.37.0"
    ready: bool = True
    cordoned: bool = False
    note: str = ""


@dataclass
class World:
    """The API behind every master. `refuses`: what `kubectl drain` says instead of draining."""

    nodes: dict[str, Node] = field(default_factory=lambda: {n.name: Node() for n in PLAN.nodes})
    refuses: str = ""
    silent: bool = False
    log: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)

    def shell(self, script: str) -> str:
        if self.silent:
            return ""
        if "get nodes" in script:
            return "".join(
                f"{name}\tv{n.version}\t{n.ready}\t{'true' if n.cordoned else ''}\t{n.note}\n" for name, n in self.nodes.items()
            )
        if found := re.search(r"annotate --overwrite node (\w+) kubewright.io/cordoned-by=([\w-]+) && .* cordon (\w+);", script):
            self.nodes[found[1]] = replace(self.nodes[found[1]], cordoned=True, note=found[2])
            self.log.append(f"cordon {found[3]}")
            return "done\n"
        if found := re.search(r"kubectl .* drain (\w+) ", script):
            self.log.append(f"drain {found[1]}")
            return f"{self.refuses}\nnot drained\n" if self.refuses else f"node/{found[1]} drained\ndrained\n"
        if found := re.search(r"\{ \S+ \S+ (un)?cordon (\w+) && .* annotate node \w+ kubewright.io/cordoned-by-;", script):
            self.nodes[found[2]] = replace(self.nodes[found[2]], cordoned=not found[1], note="")
            return "done\n"
        found = re.search(r"uncordon (\w+)", script)
        assert found is not None, script
        if self.nodes[found[1]].note:
            self.nodes[found[1]] = replace(self.nodes[found[1]], cordoned=False, note="")
            self.log.append(f"uncordon {found[1]}")
        return "done\n"

    def run(self, *, move: Move | None = MOVE, known: bool = True) -> Run:
        api = Api(
            nodes=tuple(
                LiveNode(
                    name=name,
                    machine_id="",
                    kubernetes=n.version,
                    ready=n.ready,
                    schedulable=not n.cordoned,
                    address="",
                    held=bool(n.note),
                )
                for name, n in self.nodes.items()
            )
        )
        hosts = {n.name: SimpleNamespace(shell=self.shell) for n in PLAN.nodes}
        made = SimpleNamespace(
            plan=PLAN, session=SimpleNamespace(verb="apply"), hosts=hosts, observed=hosts,
            live=SimpleNamespace(api=api if known else None),
            move=move, say=self.said.append,
        )  # fmt: skip
        return cast("Run", made)

    def roll(self, name: str = "w1", changes: Changes | None = None) -> list[str]:
        """What was done around the act."""
        run = self.run()
        if drain.empty(run, name, _changes() if changes is None else changes):
            self.log.append("act")
            drain.refill(run, name)
        return self.log


def test_a_node_is_drained_before_and_uncordoned_after_its_kubelet_is_replaced() -> None:
    world = World()
    assert world.roll() == ["cordon w1", "drain w1", "act", "uncordon w1"]
    assert world.nodes["w1"] == Node()


def test_a_node_that_somebody_else_cordoned_is_drained_and_stays_cordoned() -> None:
    world = World()
    world.nodes["w1"] = Node(cordoned=True)
    assert world.roll() == ["drain w1", "act"]
    assert world.nodes["w1"].cordoned


def test_a_run_that_was_killed_after_the_act_is_ended_by_the_next() -> None:
    world = World()
    world.nodes["w1"] = Node(version=NEW, cordoned=True, note="apply")
    assert world.roll() == ["cordon w1", "drain w1", "act", "uncordon w1"]


def test_a_node_that_is_cordoned_here_and_broken_is_mended_first_and_uncordoned_then() -> None:
    world = World()
    world.nodes["w1"] = Node(ready=False, cordoned=True, note="apply")
    assert world.roll(changes=_changes(Action.START)) == ["act", "uncordon w1"]


@pytest.mark.parametrize(
    ("node", "changes"),
    [
        (Node(version=NEW), _changes()),
        (Node(ready=False), _changes()),
        (Node(), _changes(unit=Unit(name="kube-proxy.service"))),
        (Node(), Changes()),
        (Node(), _changes(Action.ENABLE)),
    ],
    ids=["same version", "not ready", "another unit", "nothing", "only enabled"],
)
def test_nothing_is_drained_for_anything_else(node: Node, changes: Changes) -> None:
    world = World()
    world.nodes["w1"] = node
    assert world.roll(changes=changes) == []


def test_a_cluster_that_is_not_there_yet_is_not_asked() -> None:
    assert not drain.empty(World(silent=True).run(known=False), "w1", _changes())


def test_a_node_without_another_that_takes_its_pods_is_not_drained() -> None:
    world = World(nodes={"m1": Node()})
    assert world.roll("m1") == []
    assert world.said == ["m1 is not drained: no other node takes pods"]


@pytest.mark.parametrize(
    ("says", "tries"),
    [
        ("error: cannot delete Pods that declare no controller (use --force to override): default/one", 1),
        ("error when evicting pods/a: global timeout reached: 40s", 8),
    ],
)
def test_a_node_that_can_not_be_drained_takes_pods_again_and_the_reason_is_told(says: str, tries: int) -> None:
    world = World(refuses=says)
    with pytest.raises(Failed, match="w1: its node can't be drained") as failed:
        world.roll()
    assert says in str(failed.value)
    assert world.log == ["cordon w1", *["drain w1"] * tries, "uncordon w1"]


def test_no_kubelet_is_replaced_undrained_because_no_master_answers() -> None:
    with pytest.raises(Failed, match="w1: not drained: no master answers"):
        World(silent=True).roll()


def _session(world: World, verb: str = "node isolate") -> Session:
    hosts = {n.name: SimpleNamespace(shell=world.shell) for n in PLAN.nodes}
    return cast("Session", SimpleNamespace(plan=PLAN, hosts=hosts, observed=hosts, verb=verb, say=world.said.append))


def test_an_isolated_node_stays_cordoned_without_our_note_and_is_used_again_later() -> None:
    world = World()
    session = _session(world)
    drain.evacuate(session, "w1")
    assert world.nodes["w1"] == Node(cordoned=True, note="node-isolate")
    drain.keep_empty(session, "w1")
    assert world.nodes["w1"] == Node(cordoned=True)
    drain.use_again(session, "w1")
    assert world.nodes["w1"] == Node() and world.log == ["cordon w1", "drain w1"]


@pytest.mark.parametrize("before", [Node(), Node(cordoned=True)], ids=["used", "cordoned by a person"])
def test_a_node_that_can_t_be_emptied_is_as_it_was(before: Node) -> None:
    world = World(refuses="error: cannot evict pod as it would violate the pod's disruption budget")
    world.nodes["w1"] = before
    with pytest.raises(Failed, match="disruption budget"):
        drain.evacuate(_session(world), "w1", seconds=80)
    assert world.nodes["w1"] == before and world.log.count("drain w1") == 2


def test_without_a_master_no_node_is_emptied_or_called_well() -> None:
    world = World(silent=True)
    with pytest.raises(Failed, match="no master shows its node"):
        drain.evacuate(_session(world), "w1")
    assert drain.unwell_now(_session(world), "w1") == ["no master says how it is"]


@pytest.mark.parametrize(("seconds", "tries"), [(1, [1]), (40, [40]), (90, [40, 40, 10]), (320, [40] * 8)])
def test_the_pods_of_a_node_get_the_seconds_of_the_move(seconds: int, tries: list[int]) -> None:
    world = World(refuses="error: global timeout reached")
    asked: list[int] = []
    shell = world.shell

    def counted(script: str) -> str:
        asked.extend(int(found) for found in re.findall(r" drain .*--timeout=(\d+)s", script))
        return shell(script)

    world.shell = counted  # type: ignore[method-assign]
    with pytest.raises(Failed, match=f"within {seconds} s.*--pod-eviction-timeout"):
        drain.empty(world.run(move=replace(MOVE, eviction_seconds=seconds)), "w1", _changes())
    assert asked == tries
    assert not world.nodes["w1"].cordoned


def test_nodes_that_an_interrupted_run_left_cordoned_are_known() -> None:
    world = World()
    world.nodes["w1"] = Node(cordoned=True, note="upgrade")
    world.nodes["w2"] = Node(cordoned=True)
    assert drain.held(world.run()) == {"w1"}


def test_a_node_is_not_emptied_when_no_other_node_takes_its_pods() -> None:
    world = World(nodes={"m1": Node(cordoned=True), "w1": Node(), "w2": Node(ready=False)})
    with pytest.raises(Failed, match="w1: not drained: no other node takes pods"):
        drain.evacuate(_session(world), "w1")
    assert world.log == [] and world.nodes["w1"] == Node()


def test_nodes_that_leave_together_are_all_cordoned_before_one_is_drained() -> None:
    world = World()
    drain.evacuate(_session(world, "node remove"), "m2", "m3")
    assert world.log == ["cordon m2", "cordon m3", "drain m2", "drain m3"]


def test_when_one_of_them_can_t_be_drained_all_take_pods_again() -> None:
    world = World(refuses="error: cannot delete Pods")
    world.nodes["m3"] = Node(cordoned=True)
    with pytest.raises(Failed, match="m2: its node can't be drained"):
        drain.evacuate(_session(world, "node remove"), "m2", "m1", "m3")
    assert world.nodes["m1"] == world.nodes["m2"] == Node() and world.nodes["m3"] == Node(cordoned=True)
