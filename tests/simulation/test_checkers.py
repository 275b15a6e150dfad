"""The invariants can fail: they detect engines that are broken on purpose."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import gevent
import pytest

from kubewright.hosts import script
from kubewright.observe.objects import Listed
from kubewright.plan import leftovers
from kubewright.plan.changes import UnitChange
from kubewright.plan.context import Context
from kubewright.plan.desired import Desired
from kubewright.plan.wave import Wave
from kubewright.run.rollout import Rollout
from tests.simulation import probes, scenarios
from tests.simulation.clusters import Cluster
from tests.simulation.faults import calm
from tests.simulation.world import World


def _everybody_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def everywhere(rollout: Rollout, wave: Wave) -> dict[str, Exception]:
        errors: dict[str, Exception] = {}
        gevent.joinall([gevent.spawn(rollout._one, wave, name, errors) for name in rollout._run.observed], raise_error=True)
        return errors

    monkeypatch.setattr(Rollout, "_everywhere", everywhere)


def _no_gate(monkeypatch: pytest.MonkeyPatch) -> None:
    def gates(_units: tuple[UnitChange, ...], _staged: dict[str, bytes]) -> list[str]:
        return []

    monkeypatch.setattr(script, "_gates", gates)


def _no_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Rollout, "_check", lambda _rollout: None)


def _no_record(monkeypatch: pytest.MonkeyPatch) -> None:
    """The record is written only after the files."""
    monkeypatch.setattr("kubewright.run.steps.RECORD", replace(leftovers.RECORD, name="recorded"))


def _no_lock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kubewright.hosts.lock.Lock.acquire", lambda _lock: None)


def _no_bootstrap_findings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kubewright.run.preflight.bootstrap.findings", lambda *_, **_k: iter(()))


def _no_pruning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kubewright.plan.cluster_tasks.unwanted", lambda _parts, _context: ())


def _prunes_copies(monkeypatch: pytest.MonkeyPatch) -> None:
    """The label alone decides."""

    def unwanted(_parts: Iterable[Desired], context: Context) -> tuple[Listed, ...]:
        return tuple(found for found in context.observed.objects if not found.owned and context.acts_for_masters)

    monkeypatch.setattr("kubewright.plan.cluster_tasks.unwanted", unwanted)


@pytest.mark.parametrize(
    ("breaks", "scenario", "said"),
    [
        (_everybody_at_once, scenarios.rolling, "is not over"),
        (_no_gate, scenarios.member_down, "would be left"),
        (_no_stop, scenarios.broken_flag, "although the run had failed"),
        (_no_record, scenarios.fresh, "not in the record"),
        (_no_lock, scenarios.two_runs, "two runs acted at the same time"),
        (_no_bootstrap_findings, scenarios.lost_disk, "etcd began without data where a cluster is"),
        (_no_pruning, scenarios.less, "was left in the cluster"),
        (_prunes_copies, scenarios.fresh, "was removed, and kubewright did not apply it"),
    ],
    ids=["no semaphore", "no gate", "no stop", "no record", "no lock", "empty members begin", "no pruning", "copies go"],
)
def test_a_broken_engine_is_detected(
    breaks: Callable[[pytest.MonkeyPatch], None],
    scenario: scenarios.Scenario,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    breaks(monkeypatch)
    assert _found(scenario, said, tmp_path)


def _found(scenario: scenarios.Scenario, said: str, folder: Path) -> bool:
    for seed in range(40):
        (folder / str(seed)).mkdir()
        world = scenario(seed, folder / str(seed))
        if any(said in sentence for sentence in (*world.broken, *world.fleet.log.broken)):
            return True
    return False


def test_a_seed_gives_the_same_world_again(tmp_path: Path) -> None:
    logs = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        world = scenarios.rolling(1, tmp_path / name)
        logs.append([str(event) for event in world.fleet.log.events])
    assert logs[0] == logs[1]
    assert len(logs[0]) > 5


def test_shell_that_the_simulation_does_not_know_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(script, "_user", lambda name: f"adduser {name}")
    world = World(1, Cluster(masters=1, workers=0), tmp_path, installed=False)
    world.apply(calm(world.random))
    assert any("a line of act.sh: adduser etcd" in sentence for sentence in world.fleet.log.broken)
    with pytest.raises(probes.Unknown, match="a probe"):
        probes.asks(world.fleet, "m1", "wget -q https://192.0.2.11:6443/readyz")


def test_every_scenario_runs() -> None:
    assert len({s.__name__ for s in scenarios.SCENARIOS}) == len(set(itertools.chain(scenarios.SCENARIOS)))
