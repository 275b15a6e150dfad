"""cluster.yaml of N nodes to changes, in a process of its own: `python -m benchmarks.compute_run N` prints JSON.

Seconds are this process's CPU time: it is one thread that waits for nothing, and neighbours disturb that least.
"""

from __future__ import annotations

import datetime as dt
import json
import re
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from benchmarks import clusters
from deploy.steps import ROLES
from kubewright.plan import leftovers
from kubewright.plan.build import make_plan
from kubewright.plan.changes import all_changes
from kubewright.plan.context import Context
from kubewright.plan.model import Plan
from kubewright.plan.observed import Observed
from kubewright.releases import DEFAULT
from kubewright.spec import ClusterSpec, loads
from pki import decisions
from pki.planned import planned
from pki.store import Entry, Store
from pki.table import AUTHORITIES, SERVICE_ACCOUNT, leaves
from roles.base import tables

ARCHITECTURE = "amd64"
NO_OP = "files and changes of hosts that have it all"
FIREWALLD = "files and changes of hosts with firewalld"


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
        found = {name: all_changes(parts, observed[name]) for name, parts in wanted.items()}
    total = sum(clock.seconds.values())
    peak = _peak_mb()
    lines = sum(len(c.sentences()) for parts in found.values() for c in parts.values())
    assert all(any(parts.values()) for parts in found.values()), "a bare host needs everything"
    there = {name: clusters.done(observed[name], parts) for name, parts in wanted.items()}
    del wanted, found
    with clock.of(NO_OP):
        contexts = _contexts(plan, there, certificates)
        again = {name: all_changes(leftovers.everything(ROLES, context), there[name]) for name, context in contexts}
    assert not any(c for parts in again.values() for c in parts.values()), "a host that has it all needs nothing"
    del again, there
    walled = {name: replace(each, firewalld=True) for name, each in observed.items()}
    with clock.of(FIREWALLD):
        for name, context in _contexts(plan, walled, certificates):
            all_changes(leftovers.everything(ROLES, context), walled[name])
    return {**clock.seconds, "total": total, "peak_mb": peak, "imports_mb": before, "lines": lines}


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        print(json.dumps(compute(int(sys.argv[1]), Path(place))))
