"""The output of a run, during and after it; the same lines go to a log beside the inventory."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

import typer
from rich.console import Console
from rich.status import Status
from rich.table import Table

from kubewright.cli.preview import removal
from kubewright.errors import KubewrightError, ProblemsError

if TYPE_CHECKING:
    from kubewright.run.events import Event
    from kubewright.verbs.apply import Summary


SHOWN = 0.1
"""Seconds from which a step without changes is in the summary."""


class Progress:
    """A line per event; on a terminal also the running step."""

    def __init__(self, inventory: Path, verb: str = "apply") -> None:
        folder = inventory / "logs"
        folder.mkdir(exist_ok=True)
        self.log_path = folder / time.strftime(f"{verb}-%Y%m%dT%H%M%S.log")
        self._log = os.fdopen(os.open(self.log_path, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600), "a")
        self._console = Console(highlight=False, soft_wrap=True)
        self._status: Status | None = self._console.status("connecting") if self._console.is_terminal else None

    def __enter__(self) -> Self:
        if self._status:
            self._status.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._status:
            self._status.stop()
        if isinstance(error, KubewrightError):
            self._write(str(error))
            self._console.print(f"log: {self.log_path}", markup=False)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Stop the live display while a person is asked."""
        if self._status:
            self._status.stop()
        yield
        if self._status:
            self._status.start()

    def show(self, event: Event) -> None:
        """Print an event and log it, line by line."""
        if event.kind == "step":
            if self._status:
                self._status.update(event.step)
            self._write(f"{time.strftime('%H:%M:%S')} step {event.step}")
            return
        where = f"{event.step:<20} {event.host:<12} " if event.host else ""
        shown = f"{len(event.lines)} changes, {event.text}" if event.kind == "changed" else event.text
        for line in shown.splitlines() or [""]:
            self._console.print(f"{where}{line}", markup=False, style="red" if event.kind == "failed" else None)
        self._write("\n".join([f"{time.strftime('%H:%M:%S')} {where}{shown}", *(f"    {line}" for line in event.lines)]))

    def _write(self, text: str) -> None:
        self._log.write(text + "\n")
        self._log.flush()

    def ended(self, summary: Summary, command: str) -> None:
        """Print the summary. Raises the exit of a failure, or an unexpected error."""
        self.summary(summary, command)
        if isinstance(summary.failure, KubewrightError):
            raise typer.Exit(summary.failure.exit_code)
        if summary.failure is not None:
            raise summary.failure

    def summary(self, summary: Summary, command: str) -> None:
        """The steps with changes or a duration, the work not done, and the `command` to continue."""
        if not summary.changed and summary.failure is None:
            self._print(f"nothing to change on {len(summary.commands)} hosts")
        elif summary.changed:
            table = Table("step", "seconds", "changes", box=None)
            for step, seconds in summary.seconds.items():
                if step in summary.counts or seconds >= SHOWN:
                    table.add_row(step, f"{seconds:.1f}", str(summary.counts.get(step, "")))
            self._console.print(table)
        if summary.commands:
            sent = sum(summary.sent.values()) / 1e6
            most = max(summary.commands.values())
            self._print(f"{summary.total:.1f} s; at most {most} commands a host; {sent:.1f} MB sent")
        self._write(f"seconds {summary.seconds}")
        for difference in summary.differences:
            self._print(str(difference))
        for name in summary.unmanaged:
            self._print(f"node {name} is in the cluster and not in cluster.yaml; to take it out: {removal(name)}")
        for name in summary.without:
            self._print(f"{name} was left out: nothing was changed on it. When it is back, run: {command}")
        if summary.failure is not None:
            self._failure(summary, command)

    def _failure(self, summary: Summary, command: str) -> None:
        if isinstance(summary.failure, KubewrightError):
            self._print(str(summary.failure), style="red")
        for host, roles in summary.undone.items():
            self._print(f"not done on {host}: {', '.join(roles)}")
        if isinstance(summary.failure, ProblemsError) and not summary.changed:
            self._print(f"nothing was changed\nlog: {self.log_path}")
            return
        self._print("stopped; hosts and steps that are not named were not changed")
        self._print(f"fix the cause, then resume: {command}\nlog: {self.log_path}")

    def _print(self, text: str, style: str | None = None) -> None:
        self._console.print(text, markup=False, style=style)
        self._write(text)
