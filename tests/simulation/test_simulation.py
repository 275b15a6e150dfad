"""Hundreds of worlds, each from its seed: after any failure or kill the invariants hold, and the next run finishes."""

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
        one, given = (metafunc.config.getoption(option, default=None) for option in ("--seed", "--seeds"))
        first, count = (one, 1) if one is not None else map(int, (given or f"0:{SEEDS}").split(":"))
        groups = [range(i, min(i + GROUP, first + count)) for i in range(first, first + count, GROUP)]
        metafunc.parametrize("group", groups, ids=lambda g: f"seeds {g.start} to {g.stop - 1}")
