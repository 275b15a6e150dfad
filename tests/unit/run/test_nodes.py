"""Between two hosts' restarts the nodes are looked at."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from kubewright.errors import Failed
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


def _watch(monkeypatch: pytest.MonkeyPatch, *answers: str, restarted: tuple[str, ...] = ()) -> Nodes:
    clock = iter(range(0, 10_000, 5))
    monkeypatch.setattr("kubewright.run.nodes.gevent.sleep", lambda _seconds: None)
    monkeypatch.setattr("kubewright.run.nodes.time.monotonic", lambda: next(clock))
    plan = SimpleNamespace(masters=(SimpleNamespace(name="m1"), SimpleNamespace(name="m2")))
    run: Any = SimpleNamespace(plan=plan, observed={"m1": None, "m2": None}, hosts={"m1": _Host(""), "m2": _Host(*answers)})
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
