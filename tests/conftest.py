"""What every test may ask for on the command line, and what holds of every run."""

from __future__ import annotations

import os

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="write what the code makes now as the expected text")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> None:
    """In CI a test that is skipped has failed: what no machine of ours can run is in docs/not-exercised.md, not here."""
    if os.environ.get("CI") == "true" and call.excinfo is not None and call.excinfo.errisinstance(pytest.skip.Exception):
        raise AssertionError(f"{item.nodeid} was skipped in CI: {call.excinfo.value}")
