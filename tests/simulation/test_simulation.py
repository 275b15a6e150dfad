"""Hundreds of worlds, each from its seed: whatever fails or dies, the invariants hold and the next run finishes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.simulation.scenarios import play

SEEDS = 300
GROUP = 25


def test_every_seed_keeps_the_invariants(group: range, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    tell = print if len(group) == 1 else (lambda _line: None)
    for seed in group:
        folder = tmp_path / str(seed)
        folder.mkdir()
        play(seed, folder).judged(tell)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "group" in metafunc.fixturenames:
        one = metafunc.config.getoption("--seed", default=None)
        groups = [range(one, one + 1)] if one is not None else [range(i, i + GROUP) for i in range(0, SEEDS, GROUP)]
        metafunc.parametrize("group", groups, ids=lambda g: f"seeds {g.start} to {g.stop - 1}")
