"""The cost of a plan without hosts, by the number of nodes. Each size has a process of its own, to measure its memory."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator

from benchmarks.compute_run import FIREWALLD, NO_OP
from benchmarks.figures import Figure

GROUP = "cluster.yaml to changes (CPU s)"
SIZES = (10, 100, 1000)
AIM = "aim at 1,000: under 10 s"


def _measured(count: int, repeat: int) -> list[dict[str, float]]:
    command = [sys.executable, "-m", "benchmarks.compute_run", str(count)]
    return [json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout) for _ in range(repeat)]


def measure(sizes: tuple[int, ...], repeat: int, say: Callable[[str], None]) -> Iterator[Figure]:
    """Each size's total, phases of the largest, growth and memory."""
    totals: dict[int, float] = {}
    runs: list[dict[str, float]] = []
    for count in sizes:
        say(f"computing {count} nodes")
        runs = _measured(count, repeat if count < 1000 else min(repeat, 2))
        yield _size(count, runs, totals)
        peaks = tuple(r["peak_mb"] for r in runs)
        note = f"{runs[0]['imports_mb']:.0f} MB of it before anything is read"
        yield Figure(group=GROUP, name=f"{count} nodes, peak memory", samples=peaks, unit="MB", note=note)
    largest = sizes[-1]
    for phase in (p for p in runs[0] if p not in ("total", "peak_mb", "imports_mb", "lines")):
        compared = phase in (NO_OP, FIREWALLD)
        yield Figure(
            group=GROUP,
            name=f"{largest} nodes: {phase}",
            samples=tuple(r[phase] for r in runs),
            against=f"the {largest} above" if compared else "",
            base=totals[largest] if compared else None,
        )


def _size(count: int, runs: list[dict[str, float]], totals: dict[int, float]) -> Figure:
    samples = tuple(r["total"] for r in runs)
    smaller = max(totals, default=None)
    totals[count] = min(samples)
    against = "" if smaller is None else f"{smaller} nodes; proportional would be {count / smaller:.3g}"
    note = f"{runs[0]['lines']:,.0f} changes" + (f"; {AIM}" if count == SIZES[-1] else "")
    base = None if smaller is None else totals[smaller]
    return Figure(group=GROUP, name=f"{count} nodes", samples=samples, against=against, base=base, note=note)
