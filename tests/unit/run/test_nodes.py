"""Between two hosts' restarts the nodes are looked at."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from kubewright.errors import Failed
from kubewright.plan.move import Move
from kubewright.releases import release_for
from kubewright.run import nodes as engine
from kubewright.run.nodes import Nodes, unwell

WELL = "w1 MemoryPressure=False DiskPressure=False PIDPressure=False Ready=True"


def test_an_answer_is_read_with_its_reasons() -> None:
    answer = f"{WELL}\nw2 DiskPressure=True Ready=True\nw3 DiskPressure=Unknown Ready=Unknown\nw4\n.\n"
    assert unwell(answer) == {"w2": "DiskPressure", "w3": "not Ready", "w4": "not Ready"}


@pytest.mark.parametrize("answer", ["", f"{WELL}\n", "error: no connection"])
def test_an_answer_that_is_not_whole_says_nothing(answer: str) -> None:
    assert unwell(answer) is None


class _Host:
    def __init__(self, *answers: str) -> None:
        self.answers = list(answers)

    def shell(self, script: str) -> str:
        assert script == engine.ASK
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


def _watch(
    monkeypatch: pytest.MonkeyPatch,
    *answers: str,
    restarted: tuple[str, ...] = (),
    move: Move | None = None,
    runs: str = "1.36.3",
    recorded: tuple[str, ...] = ("w1",),
) -> Nodes:
    """`runs`: the version of w1. `recorded`: the nodes whose kubelets' starts are on record."""
    clock = iter(range(0, 10_000, 5))
    monkeypatch.setattr("kubewright.run.nodes.gevent.sleep", lambda _seconds: None)
    monkeypatch.setattr("kubewright.run.nodes.time.monotonic", lambda: next(clock))
    plan = SimpleNamespace(masters=(SimpleNamespace(name="m1"), SimpleNamespace(name="m2")))
    seen = {
        name: SimpleNamespace(started_with={"kubelet.service": {}} if name in recorded else {}) for name in ("m1", "m2", "w1")
    }
    api = SimpleNamespace(nodes=(SimpleNamespace(name="w1", kubernetes=runs),))
    run: Any = SimpleNamespace(
        plan=plan, observed=seen, hosts={"m1": _Host(""), "m2": _Host(*answers)}, live=SimpleNamespace(api=api), move=move
    )
    watch = Nodes(run)
    watch.gate(["w9"])
    watch.restarted |= set(restarted)
    return watch


def test_a_node_that_was_ill_before_the_run_holds_nothing_up(monkeypatch: pytest.MonkeyPatch) -> None:
    _watch(monkeypatch, "w1 Ready=False\n.\n").gate(["w2"])


def test_a_node_that_fell_ill_since_stops_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    watch = _watch(monkeypatch, ".\n", "w1 DiskPressure=True Ready=True\n.\n")
    with pytest.raises(Failed, match=r"w2: not restarted, .*: w1 \(DiskPressure\)"):
        watch.gate(["w2"])


def test_a_node_that_the_run_restarted_must_be_well_whatever_it_was_before(monkeypatch: pytest.MonkeyPatch) -> None:
    watch = _watch(monkeypatch, "w1 Ready=False\n.\n", restarted=("w1",))
    with pytest.raises(Failed, match=r"w1 \(not Ready\)"):
        watch.gate(["w2"])


def test_a_node_that_gets_well_in_time_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    _watch(monkeypatch, ".\n", "w1 Ready=Unknown\n.\n", "w1 Ready=Unknown\n.\n", f"{WELL}\n.\n").gate(["w2"])


def test_the_host_itself_may_be_ill_its_restart_may_mend_it(monkeypatch: pytest.MonkeyPatch) -> None:
    _watch(monkeypatch, ".\n", "w1 Ready=False\n.\n").gate(["w1"])


def test_without_an_answer_the_units_own_gate_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    _watch(monkeypatch, "").gate(["w1"])


UP = Move(verb="upgrade", target=release_for("1.37.1"))


def test_a_node_that_an_interrupted_upgrade_broke_stops_the_next_run_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise each repetition of the command would break one more node."""
    with pytest.raises(Failed, match=r"w1 \(not Ready\)"):
        _watch(monkeypatch, "w1 Ready=False\n.\n", move=UP, runs="1.37.1").gate(["w2"])


@pytest.mark.parametrize(
    ("move", "runs", "recorded"),
    [
        (UP, "1.36.3", ("w1",)),
        (UP, "1.37.1", ()),
        (Move(verb="rollback", target=release_for("1.36.3")), "1.36.3", ("w1",)),
    ],
    ids=["not moved yet", "this run restarts it", "a rollback mends"],
)
def test_other_nodes_that_were_ill_before_a_move_hold_nothing_up(
    move: Move, runs: str, recorded: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    _watch(monkeypatch, "w1 Ready=False\n.\n", move=move, runs=runs, recorded=recorded).gate(["w2"])
