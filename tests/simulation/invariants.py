"""The invariants of every run, with any fault: each function gives a sentence for each violation."""

from __future__ import annotations

import functools
import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from deploy.waves import CLUSTER
from kubewright.observe.objects import Ref
from kubewright.plan import leftovers
from kubewright.plan.desired import Desired
from pki import encryption
from pki.authorities import AUTHORITIES, SERVICE_ACCOUNT
from pki.store import Store
from tests.simulation.applying import Apply
from tests.simulation.evidence import PEOPLE
from tests.simulation.fleet import Fleet


@functools.cache
def _before(title: str) -> frozenset[str]:
    """All the waves that must be done before that one, by what their roles come after."""
    wave_of = {role.name: wave.title for wave in CLUSTER for role in wave.roles}
    after = {wave.title: {wave_of[a] for role in wave.roles for a in role.after} - {wave.title} for wave in CLUSTER}
    return frozenset(b for a in after.get(title, ()) for b in {a, *_before(a)})


def order(apply: Apply) -> Iterator[str]:
    """No act of a wave begins while one that it comes after is not done on every host. Back, versions say the order."""
    if apply.run.waves != apply.cluster.waves:
        return
    begun: dict[str, set[str]] = {}
    seen: set[str] = set()
    for event in apply.fleet.log.of("act", "acted", "push", "pushed", run=apply.session.number):
        at_work = begun.setdefault(event.role, set())
        if event.what in ("acted", "pushed"):
            at_work.discard(event.host)
            continue
        at_work.add(event.host)
        seen.add(event.role)
        for role in sorted(_before(event.role)):
            if begun.get(role):
                yield f"{event.role} began on {event.host} while {role} was not done on {sorted(begun[role])}"
        for role in sorted(seen):
            if event.role in _before(role):
                yield f"{event.role} began on {event.host} after {role} had begun"


def stop(apply: Apply) -> Iterator[str]:
    """After a known failure nothing more begins on any host."""
    failed = False
    for event in apply.fleet.log.of("failure", "act", "push", run=apply.session.number):
        if failed and event.what != "failure":
            yield f"{event.role} began on {event.host} although the run had failed"
        failed = failed or event.what == "failure"


def journal(apply: Apply) -> Iterator[str]:
    """What changed something began and, unless killed, ended, here and on every master; what did not wrote nothing."""
    own = apply.run.session.journal
    lines = _lines(own._path) if own is not None and own._path.exists() else []
    events = [line["event"] for line in lines]
    did = bool(apply.fleet.log.of("act", "push", run=apply.session.number)) or "changed" in events
    if did and events[:1] != ["begun"]:
        yield "it changed something and wrote down no beginning"
    if did and not apply.killed and events[-1:] != ["ended"]:
        yield "it changed something and wrote down no end"
    if events and not did and not apply.killed and apply.run.failure is None:
        yield "it changed nothing and wrote a journal"
    if events == ["begun"] and not apply.killed:
        yield "it was not killed, and history will say so"
    if not apply.killed and "ended" in events and own is not None:
        for node in apply.fleet.plan.masters if apply.session.weather.chance == 0 else ():
            kept = [json.loads(line) for line in apply.fleet.machines[node.name].journal]
            mine = [line["event"] for line in kept if line["run"] == lines[0]["run"]]
            if mine != ["begun", "ended"]:
                yield f"{node.name}'s journal says {mine}"


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def ending(apply: Apply) -> Iterator[str]:
    """A run releases its lock, and a failure at the end does not hide an earlier one."""
    if apply.ended_badly is not None:
        yield f"the end of the run raised ({apply.ended_badly}); it had failed with: {apply.run.failure}"
    if not apply.killed and apply.ended_badly is None:
        held = [name for name, (number, _) in apply.fleet.held.items() if number == apply.session.number]
        if held:
            yield f"the lock is still held on {held}"


def alone(first: Apply, second: Apply) -> Iterator[str]:
    """Two runs at once: their acts are not mixed, and the refused one names the holder."""
    numbers = [e.run for e in first.fleet.log.of("act", "push") if e.run in (first.session.number, second.session.number)]
    if sum(a != b for a, b in itertools.pairwise(numbers)) > 1:
        yield "two runs acted at the same time"
    for one in (first, second):
        text = str(one.run.failure or "")
        if "another run" in text and (" at " not in text or "doing `apply`" not in text):
            yield f"the refusal does not name who holds the lock: {text}"


def authorities(inventory: Path) -> dict[str, tuple[str, str]]:
    entries = Store(inventory).entries
    names = [*(a.name for a in AUTHORITIES), SERVICE_ACCOUNT, encryption.ROW]
    return {name: (entries[name].certificate, entries[name].key_sha256) for name in names if name in entries}


def kept(before: dict[str, tuple[str, str]], inventory: Path) -> Iterator[str]:
    """No authority was replaced or lost, and each has its key."""
    now, store = authorities(inventory), Store(inventory)
    for name, entry in before.items():
        if now.get(name) != entry:
            yield f"{name} is another one now"
    for name in (name for name, entry in store.entries.items() if entry.key_sha256):
        try:
            store.key(name)
        except KeyError:
            yield f"the key of {name} is lost"


def converged(apply: Apply) -> Iterator[str]:
    """No changes remain, everything serves, and the record is as wanted."""
    fleet, cluster, store = apply.fleet, apply.cluster, Store(apply.inventory)
    if not apply.succeeded:
        yield f"an undisturbed run failed: {apply.run.failure or apply.ended_badly}"
        return
    observed = {name: fleet.observe(name, cluster.units) for name in fleet.machines}
    lineage = cluster.lineage(observed)
    objects: set[Ref] = set()
    for name, machine in fleet.machines.items():
        context = cluster.context(name, observed, store, lineage)
        objects |= {
            ref for role in cluster.roles if role.runs_on(context.node) for t in role.desired(context).tasks for ref in t.objects
        }
        for role, found in cluster.pending(context).items():
            yield f"{name} still needs {role}: {'; '.join(found.sentences())}"
        wanted = [role.desired(context) for role in cluster.roles if role.runs_on(context.node)]
        if machine.installed() != leftovers.wanted(wanted):
            yield f"{name}: the record differs by {sorted(machine.installed() ^ leftovers.wanted(wanted))}"
        for desired in wanted:
            yield from (f"{name}: {sentence}" for unit in desired.units for sentence in _serves(fleet, name, unit.name, desired))
        yield from (f"{name}: {path} was left behind" for path in _strays(fleet, name))
    yield from _objects(fleet, objects)


def _objects(fleet: Fleet, wanted: set[Ref]) -> Iterator[str]:
    """kubewright's objects are exactly the wanted ones, and other people's are all there."""
    ours = set(fleet.evidence.ours)
    yield from (f"{ref} was left in the cluster" for ref in ours - wanted)
    yield from (f"{ref} is not in the cluster" for ref in wanted - ours)
    yield from (f"{found.ref}, of other people, is gone" for found in PEOPLE if found.ref not in fleet.evidence.objects)


def _serves(fleet: Fleet, name: str, unit: str, desired: Desired) -> Iterator[str]:
    """Whether it is ready, and its process started with the wanted files."""
    if not fleet.ready(name, unit):
        yield f"{unit} does not serve"
    wanted = {f.path: f.sha256 for f in desired.files if unit in f.restarts}
    wanted |= {link.path: link.target for link in desired.links if unit in link.restarts}
    began = fleet.machines[name].service(unit).began_with
    stale = sorted(path for path, value in wanted.items() if began.get(path) != value)
    if stale:
        yield f"{unit} runs with something else than {', '.join(stale)}"


def _strays(fleet: Fleet, name: str) -> list[str]:
    return sorted(path for path in fleet.machines[name].entries if path.endswith((".kubewright", ".new")))
