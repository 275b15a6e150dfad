"""Figures, and a run's figures as a table and as JSON. Measures nothing."""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

RESULTS = Path(__file__).with_name("results")


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One measured thing. `samples` are its repetitions; the table shows the least, which has the least disturbance."""

    group: str
    name: str
    samples: tuple[float, ...]
    unit: str = "s"
    against: str = ""
    """The comparison, in words; `base` is its measurement in the same run."""
    base: float | None = None
    note: str = ""

    @property
    def value(self) -> float:
        return min(self.samples)

    @property
    def ratio(self) -> float | None:
        """The ratio to the base; None when there is none."""
        return self.value / self.base if self.base else None


@dataclass(frozen=True, kw_only=True)
class Missing:
    """A group that could not be measured, and why."""

    group: str
    reason: str


def _shown(value: float, unit: str) -> str:
    if unit == "s" and value < 1:
        return f"{value * 1000:.3g} ms"
    return f"{value:,.0f} {unit}" if value >= 1000 else f"{value:.3g} {unit}"


def table(figures: Sequence[Figure], missing: Sequence[Missing]) -> Table:
    """The figures, group by group: the least of the samples, the median of several, the ratio to the base."""
    made = Table("figure", "least", "median", "ratio", "against", "note", box=None, pad_edge=False)
    group = ""
    for figure in figures:
        if figure.group != group:
            group = figure.group
            made.add_row(f"[bold]{group}")
        median = _shown(statistics.median(figure.samples), figure.unit) if len(figure.samples) > 1 else ""
        ratio = "" if figure.ratio is None else f"{figure.ratio:.3g}"
        made.add_row(f"  {figure.name}", _shown(figure.value, figure.unit), median, ratio, figure.against, figure.note)
    for gone in missing:
        made.add_row(f"[bold]{gone.group}")
        made.add_row(f"  [red]not measured:[/red] {escape(gone.reason)}")
    return made


def machine() -> dict[str, Any]:
    """The machine of the figures. The load shows whether it was busy with other work."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False, cwd=RESULTS.parent
    )
    return {
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "commit": commit.stdout.strip(),
        "cores": os.cpu_count(),
        "memory_mb": memory // 1_000_000,
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load_before": os.getloadavg()[0],
    }


def publish(figures: Sequence[Figure], missing: Sequence[Missing], where: dict[str, Any]) -> Path:
    """Print the table; write it and the figures. The path of the JSON."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{where['at'].replace('-', '').replace(':', '')}.json"
    rows = [{**asdict(f), "value": f.value, "ratio": f.ratio} for f in figures]
    document = {**where, "figures": rows, "missing": [asdict(m) for m in missing]}
    path.write_text(json.dumps(document, indent=1) + "\n")
    made, heading = table(figures, missing), ", ".join(f"{key} {value}" for key, value in where.items())
    Console(width=None if os.isatty(1) else 160, highlight=False).print(made)
    with path.with_suffix(".txt").open("w") as file:
        console = Console(file=file, width=160, highlight=False)
        console.print(heading)
        console.print(made)
    return path
