"""cluster.yaml of N nodes to changes, in a process of its own: `python -m benchmarks.compute_run N` prints JSON.

Seconds are this process's CPU time, which other processes disturb least: it is one thread that never waits.
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
from deploy.waves import ROLES
from kubewright.artifacts import Bundle
from kubewright.model.build import make_plan
from kubewright.model.certificates import leaves
from kubewright.model.cluster import Plan
from kubewright.observe.observed import Observed
from kubewright.plan import leftovers
from kubewright.plan.changes import all_changes
from kubewright.plan.context import Context
from kubewright.plan.desired import Desired
from kubewright.releases import DEFAULT
from kubewright.releases import systems as tables
from kubewright.spec import ClusterSpec, loads
from pki import decisions, encryption
from pki.authorities import AUTHORITIES, SERVICE_ACCOUNT
from pki.planned import planned
from pki.store import Entry, Store

ARCHITECTURE = "amd64"
NO_OP = "files and changes of hosts that have it all"
FIREWALLD = "files and changes of hosts with firewalld"


def _peak_mb() -> float:
    """This process's own peak: rusage also counts memory from before exec."""
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


def stand_ins(plan: Plan, folder: Path) -> Mapping[str, Entry]:
    """The certificates to issue, as in a plan: makes no key."""
    store, now = Store(folder), dt.datetime.now(dt.UTC)
    decided = decisions.decide(AUTHORITIES, leaves(plan), (SERVICE_ACCOUNT,), store, plan.certificates, now)
    return planned(store.entries, (*decided, encryption.decide(store)))


def contexts(
    plan: Plan, observed: Mapping[str, Observed], certificates: Mapping[str, Entry], bundle: Bundle
) -> Iterator[tuple[str, Context]]:
    """The roles' input, node by node."""
    for node in plan.nodes:
        host = observed[node.name]
        system = tables.system_of(host.os_id, host.os_version)
        assert system is not None
        yield (
            node.name,
            Context(plan=plan, node=node, observed=host, system=system, certificates=certificates, bundle=bundle),
        )


def _everything(
    plan: Plan, observed: Mapping[str, Observed], certificates: Mapping[str, Entry]
) -> Iterator[tuple[str, dict[str, Desired]]]:
    for name, context in contexts(plan, observed, certificates, clusters.bundle(DEFAULT, ARCHITECTURE)):
        yield name, leftovers.everything(ROLES, context)


def compute(count: int, folder: Path) -> dict[str, float]:
    """CPU seconds by phase, peak memory in MB, and the number of changes."""
    text, clock, before = clusters.document(clusters.addresses(count)), _Clock(), _peak_mb()
    with clock.of("spec"):
        spec = _spec(text, folder)
    with clock.of("plan"):
        plan = make_plan(spec)
    with clock.of("certificates, as stand-ins"):
        certificates = stand_ins(plan, folder)
    host = clusters.recorded()
    observed = {node.name: clusters.bare(host, node) for node in plan.nodes}
    with clock.of("wanted files"):
        wanted = dict(_everything(plan, observed, certificates))
    with clock.of("changes"):
        found = {name: all_changes(parts, observed[name]) for name, parts in wanted.items()}
    total = sum(clock.seconds.values())
    peak = _peak_mb()
    lines = sum(len(c.sentences()) for parts in found.values() for c in parts.values())
    assert all(any(parts.values()) for parts in found.values()), "a bare host needs everything"
    there = {name: clusters.done(observed[name], parts) for name, parts in wanted.items()}
    del wanted, found
    with clock.of(NO_OP):
        again = {name: all_changes(parts, there[name]) for name, parts in _everything(plan, there, certificates)}
    assert not any(c for parts in again.values() for c in parts.values()), "a host that has it all needs nothing"
    del again, there
    walled = {name: replace(each, firewalld=True) for name, each in observed.items()}
    with clock.of(FIREWALLD):
        opened = {name: all_changes(parts, walled[name]) for name, parts in _everything(plan, walled, certificates)}
    assert all(parts["firewall"] for parts in opened.values()), "a host with firewalld needs its openings"
    return {**clock.seconds, "total": total, "peak_mb": peak, "imports_mb": before, "lines": lines}


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        print(json.dumps(compute(int(sys.argv[1]), Path(place))))
