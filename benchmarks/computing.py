"""What a plan costs without a host: cluster.yaml of N nodes to changes. As a program it measures one size and prints JSON.

Each size has a process of its own, so that its peak memory is its own. Seconds are this process's CPU time: it is one
thread that waits for nothing, and neighbours disturb that least.
"""

from __future__ import annotations

import datetime as dt
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from benchmarks import clusters
from benchmarks.figures import Figure
from deploy.steps import ROLES
from kubewright.engine.run import Run
from kubewright.plan import leftovers
from kubewright.plan.build import make_plan
from kubewright.plan.changes import Changes, changes
from kubewright.plan.context import Context
from kubewright.plan.desired import Desired
from kubewright.plan.model import Plan
from kubewright.plan.observed import Observed
from kubewright.releases import DEFAULT
from kubewright.spec import ClusterSpec, loads
from pki import decisions
from pki.planned import planned
from pki.store import Entry, Store
from pki.table import AUTHORITIES, SERVICE_ACCOUNT, leaves
from roles.base import tables

GROUP = "without hosts: cluster.yaml to changes"
SIZES = (10, 100, 1000)
AIM = "aim at 1,000: under 10 s"
ARCHITECTURE = "amd64"
NO_OP, AS_A_RUN = "files and changes of hosts that have it all", "the same, as `Run` puts it together"


def _peak_mb() -> float:
    """This process's own peak: rusage's counts what was there before exec."""
    found = re.search(r"^VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
    return int(found[1]) / 1000 if found else 0.0


class _Clock:
    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def of(self, phase: str) -> Iterator[None]:
        began = time.process_time()
        yield
        self.seconds[phase] = time.process_time() - began


def _spec(text: str, folder: Path) -> ClusterSpec:
    return loads(text.encode(), folder=folder)


def _certificates(plan: Plan, folder: Path) -> Mapping[str, Entry]:
    store, now = Store(folder), dt.datetime.now(dt.UTC)
    decided = decisions.decide(AUTHORITIES, leaves(plan), (SERVICE_ACCOUNT,), store, plan.certificates, now)
    return planned(store.entries, decided)


def _contexts(plan: Plan, observed: Mapping[str, Observed], certificates: Mapping[str, Entry]) -> Iterator[tuple[str, Context]]:
    bundle = clusters.bundle(DEFAULT, ARCHITECTURE)
    for node in plan.nodes:
        host = observed[node.name]
        system = tables.system_of(host.os_id, host.os_version)
        assert system is not None
        yield (
            node.name,
            Context(plan=plan, node=node, observed=host, system=system, certificates=certificates, bundle=bundle),
        )


def _as_a_run(spec: ClusterSpec, observed: dict[str, Observed], folder: Path) -> int:
    """The same through `Run`, which `apply` and `plan` use. How many changes it found."""
    (folder / "cluster.yaml").touch()
    run = Run(inventory=folder, spec=spec, roles=ROLES)
    run.observed = observed
    run.bundles = {ARCHITECTURE: clusters.bundle(DEFAULT, ARCHITECTURE)}
    now = dt.datetime.now(dt.UTC)
    run.decisions = decisions.decide(AUTHORITIES, leaves(run.plan), (SERVICE_ACCOUNT,), run.store, run.plan.certificates, now)
    return sum(len(c.sentences()) for name in observed for c in run.changes_of(name).values())


def compute(count: int, folder: Path) -> dict[str, float]:
    """CPU seconds by phase, peak memory in MB, and how many changes there are."""
    text, clock, before = clusters.document(clusters.addresses(count)), _Clock(), _peak_mb()
    with clock.of("spec"):
        spec = _spec(text, folder)
    with clock.of("plan"):
        plan = make_plan(spec)
    with clock.of("certificates, as stand-ins"):
        certificates = _certificates(plan, folder)
    host = clusters.recorded()
    observed = {node.name: clusters.bare(host, node) for node in plan.nodes}
    with clock.of("wanted files"):
        wanted = {name: leftovers.everything(ROLES, context) for name, context in _contexts(plan, observed, certificates)}
    with clock.of("changes"):
        found = {name: _diff(parts, observed[name]) for name, parts in wanted.items()}
    total = sum(clock.seconds.values())
    peak = _peak_mb()
    lines = sum(len(c.sentences()) for parts in found.values() for c in parts.values())
    assert all(any(parts.values()) for parts in found.values()), "a bare host needs everything"
    there = {name: clusters.done(observed[name], parts) for name, parts in wanted.items()}
    del wanted, found
    with clock.of(NO_OP):
        contexts = _contexts(plan, there, certificates)
        again = {name: _diff(leftovers.everything(ROLES, context), there[name]) for name, context in contexts}
    assert not any(c for parts in again.values() for c in parts.values()), "a host that has it all needs nothing"
    del again, there
    with clock.of(AS_A_RUN):
        _as_a_run(spec, observed, folder)
    return {**clock.seconds, "total": total, "peak_mb": peak, "imports_mb": before, "lines": lines}


def _diff(parts: Mapping[str, Desired], host: Observed) -> dict[str, Changes]:
    return {role: changes(desired, host) for role, desired in parts.items()}


def _measured(count: int, repeat: int) -> list[dict[str, float]]:
    command = [sys.executable, "-m", "benchmarks.computing", str(count)]
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
        compared = phase in (NO_OP, AS_A_RUN)
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
    return Figure(group=GROUP, name=f"{count} nodes, CPU seconds", samples=samples, against=against, base=base, note=note)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        print(json.dumps(compute(int(sys.argv[1]), Path(place))))
