"""The exact files on each host of each scenario. `pytest --update-golden` rewrites them; review the diff."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.golden import rendering
from tests.support.scenarios import NAMES, hosts, scenario

GOLDEN = Path(__file__).parent


@pytest.mark.parametrize(("name", "host"), hosts())
def test_the_host_gets_exactly_these_files(name: str, host: str, request: pytest.FixtureRequest) -> None:
    found = rendering.host(scenario(name).context(host))
    path = GOLDEN / name / f"{host}.txt"
    if request.config.getoption("--update-golden"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(found)
    assert found == path.read_text(), f"{path} differs; if that is meant: pytest tests/golden --update-golden"


def test_every_golden_file_belongs_to_a_host() -> None:
    kept = {f"{folder}/{file.stem}" for folder in NAMES for file in (GOLDEN / folder).glob("*.txt")}
    assert kept == {f"{name}/{host}" for name, host in hosts()}


def test_a_second_rendering_with_other_keys_is_the_same() -> None:
    first = rendering.host(scenario("single").context("m1"))
    scenario.cache_clear()
    assert rendering.host(scenario("single").context("m1")) == first
