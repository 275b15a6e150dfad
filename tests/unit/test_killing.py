"""The checks of the kill tests find the faults that they look for."""

from __future__ import annotations

import pytest

from tests.cluster.killing import FRESH, LINES, ROLLING, moments, torn

OLD, NEW = {"m1": {"/a": "1", "/b": "-> x"}}, {"m1": {"/a": "2", "/b": "-> x", "/c": "3"}}


@pytest.mark.parametrize("found", [{}, {"/a": "1"}, {"/a": "2"}, {"/c": "3", "/b": "-> x"}, {"/not-ours": "9"}])
def test_a_managed_file_may_be_absent_old_or_new(found: dict[str, str]) -> None:
    assert torn({"m1": found}, OLD, NEW) == []


@pytest.mark.parametrize("found", [{"/a": "9"}, {"/b": "-> y"}, {"/c": "1"}])
def test_anything_else_in_a_managed_file_is_torn(found: dict[str, str]) -> None:
    ((path, now),) = found.items()
    assert torn({"m1": found}, OLD, NEW) == [f"m1: {path} ({now})"]


@pytest.mark.parametrize("kind", [FRESH, ROLLING])
def test_a_seed_gives_its_moments_again_spread_over_one_run(kind: str) -> None:
    found = moments(kind, 7, 5)
    assert found == moments(kind, 7, 5) != moments(kind, 8, 5)
    assert sum(lines for lines, _ in found) <= LINES[kind]
