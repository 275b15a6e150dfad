"""Command-line options of all tests, and rules for every run."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Generator

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="write what the code makes now as the expected text")
    parser.addoption("--kill-seed", type=int, help="draw the moments of random kills from this seed, which a run printed")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """In CI a skipped test counts as a failure: docs/not-exercised.md lists cases that no test machine can run."""
    report = yield
    if os.environ.get("CI") == "true" and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} was skipped, and this is CI"
    return report


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(_AtOnce(config), "at-once")


class _AtOnce:
    """A run takes an hour: report each failure at once, not only at the end."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._seconds: defaultdict[str, float] = defaultdict(float)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._seconds[report.nodeid.partition("::")[0]] += report.duration
        terminal = self._config.pluginmanager.getplugin("terminalreporter")
        if report.failed and terminal is not None:
            terminal.write_line(f"\n{report.nodeid} ({report.when}): {report.longreprtext[-4000:]}")

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """The minutes by file: CI has a limit."""
        longest = sorted(((seconds, file) for file, seconds in self._seconds.items() if seconds > 20), reverse=True)
        if longest:
            terminalreporter.section("minutes by file")
        for seconds, file in longest:
            terminalreporter.write_line(f"{seconds / 60:5.1f}  {file}")
