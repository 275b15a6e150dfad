"""What each run that changed something did: beside the inventory as it happens, and on the masters when it began and ended."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kubewright.errors import Failed
from kubewright.hosts.host import Host
from kubewright.hosts.lock import Holder

FOLDER = "journal"


def new_id() -> str:
    """A run's name: when it began, and two bytes that tell two of one second apart."""
    return f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-{os.urandom(2).hex()}"


def digest(path: Path) -> str:
    """SHA-256 of a file, empty when there is none."""
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else ""


class Journal:
    """One run's, written line by line; each line is on the disk before the next thing happens."""

    def __init__(self, inventory: Path, mine: Holder, masters: Sequence[Host]) -> None:
        self._path = inventory / FOLDER / f"{mine.run}.jsonl"
        self._masters, self._mine = masters, mine

    def begin(self, **facts: Any) -> None:
        self._path.parent.mkdir(exist_ok=True)
        self._everywhere({"event": "begun", "at": time.time(), "run": self._mine.run, "verb": self._mine.verb,
                          "by": f"{self._mine.who}@{self._mine.where}", **facts})  # fmt: skip

    def step(self, role: str, host: str, sentences: Sequence[str]) -> None:
        """What was changed on a host. Sentences name files and units; they hold no content."""
        self._write({"event": "changed", "at": time.time(), "role": role, "host": host, "changes": list(sentences)})

    def leave_out(self, name: str) -> None:
        """Write nothing more on that host."""
        self._masters = [host for host in self._masters if host.name != name]

    def end(self, outcome: str, **facts: Any) -> None:
        self._everywhere({"event": "ended", "at": time.time(), "run": self._mine.run, "outcome": outcome, **facts})

    def _everywhere(self, entry: dict[str, Any]) -> None:
        self._write(entry)
        for host in self._masters:
            # A master that is gone misses a line of its copy; the one beside the inventory is whole.
            with contextlib.suppress(Failed):
                host.record(json.dumps(entry))

    def _write(self, entry: dict[str, Any]) -> None:
        with self._path.open("a") as file:
            file.write(json.dumps(entry) + "\n")
            file.flush()
            os.fsync(file.fileno())


@dataclass(frozen=True, kw_only=True)
class PastRun:
    """A run as `history` shows it. `outcome`: done, failed, killed (it began and never ended)."""

    run: str
    verb: str
    by: str
    began: float
    seconds: float | None
    outcome: str
    hosts: tuple[str, ...]
    changes: int
    error: str


def history(inventory: Path) -> Iterator[PastRun]:
    """Past runs, the newest first. A line that a power cut tore is left out."""
    for path in sorted((inventory / FOLDER).glob("*.jsonl"), reverse=True):
        lines = []
        for line in path.read_text().splitlines():
            try:
                lines.append(json.loads(line))
            except ValueError:
                continue
        if not lines or lines[0].get("event") != "begun":
            continue
        begun, ended = lines[0], lines[-1] if lines[-1]["event"] == "ended" else None
        changed = [line for line in lines if line["event"] == "changed"]
        yield PastRun(
            run=begun["run"],
            verb=begun["verb"],
            by=begun["by"],
            began=begun["at"],
            seconds=ended["at"] - begun["at"] if ended else None,
            outcome=ended["outcome"] if ended else "killed",
            hosts=tuple(sorted({line["host"] for line in changed})),
            changes=sum(len(line["changes"]) for line in changed),
            error=ended.get("error", "") if ended else "",
        )
