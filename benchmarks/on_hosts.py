"""The cost of a run on hosts: fresh, with nothing to change, with one changed file on each."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks import bench_lab
from benchmarks.figures import Figure
from benchmarks.processes import Done, run
from benchmarks.startup import IMPORTS
from deploy.waves import CLUSTER
from kubewright import lab
from kubewright.artifacts import Bundle, SourceConfig, obtain_all
from kubewright.artifacts.gomod import machine_arch
from kubewright.releases import DEFAULT
from kubewright.run.steps import step_of

GROUP = "apply on {} hosts of a lab"
DRIFTING = "/etc/crictl.yaml"
"""A file on every host that runs pods, for which no unit restarts."""
STEPS_SHOWN = 6
PARTS = ("connect", "observe", "check")
"""The phases of a run with nothing to do. `connect` also reads cluster.yaml and makes the plan."""
AIM_SECONDS = 70.0
"""Five fresh hosts to a verified cluster, on two cores."""
BEST_KNOWN_SECONDS = 283.0
"""kubeasz 3.7.0 on five such hosts and two cores with the same binaries, as measured on 2026-11-21; not in this run."""

Say = Callable[[str], None]


def _apply(inventory: Path) -> tuple[Done, dict[str, Any]]:
    done = run(sys.executable, "-m", "benchmarks.apply_run", str(inventory))
    return done, json.loads(done.output)


@dataclass(kw_only=True)
class _Later:
    """Runs on an existing cluster, in turns, so that all have the same disturbances."""

    floor: list[float] = field(default_factory=list)
    python: list[float] = field(default_factory=list)
    idle: list[Done] = field(default_factory=list)
    inner: list[dict[str, Any]] = field(default_factory=list)
    repaired: list[Done] = field(default_factory=list)
    repairing: list[dict[str, Any]] = field(default_factory=list)


def _later(inventory: Path, made: lab.Lab, repeat: int) -> _Later:
    found = _Later()
    for _ in range(repeat):
        found.floor.append(bench_lab.everywhere(made, made.hosts, "true"))
        found.python.append(run(sys.executable, "-c", IMPORTS).seconds)
        found.idle.append(run(sys.executable, "-m", "kubewright", "apply", "-i", str(inventory)))
        found.inner.append(_apply(inventory)[1])
        bench_lab.everywhere(made, made.hosts, f"echo '# drift' >> {DRIFTING}")
        done, summary = _apply(inventory)
        found.repaired.append(done)
        found.repairing.append(summary)
    assert not any(summary["changed"] for summary in found.inner), "a second apply found something to change"
    assert all(len(summary["changed"]) == len(made.hosts) for summary in found.repairing), "the drift was not repaired everywhere"
    return found


def measure(count: int, repeat: int, say: Say) -> Iterator[Figure]:
    """A fresh cluster of `count` hosts, then the cost of later runs."""
    group = GROUP.format(count)
    bundle = obtain_all(DEFAULT, machine_arch(), SourceConfig(), say, test_images=False)
    with tempfile.TemporaryDirectory() as place, bench_lab.up(count, say) as made:
        inventory = bench_lab.inventory(Path(place) / "inventory", made, count)
        say(f"a fresh apply on {count} hosts")
        done, fresh = _apply(inventory)
        assert fresh["changed"], "a bare host needs everything"
        verified = run(sys.executable, "-m", "kubewright", "verify", "-i", str(inventory))
        yield from _fresh(group, done, fresh, verified)
        say("the same bytes through the plain ssh client")
        yield from _bytes(group, made, fresh, bundle, Path(place), repeat)
        say(f"applies with nothing to do, and after {DRIFTING} was changed on each host")
        yield from _compared(group, _later(inventory, made, repeat), done.seconds)


def _fresh(group: str, done: Done, fresh: dict[str, Any], verified: Done) -> Iterator[Figure]:
    """A fresh run compared with its goal, and its longest steps, from its own summary."""
    took, changes = done.seconds, f"{sum(n for *_, n in fresh['changed']):,} changes"
    rows = (
        ("fresh, then verified", took + verified.seconds, f"aim: {AIM_SECONDS:.0f} s for five on 2 cores", AIM_SECONDS, ""),
        ("fresh", took, f"kubeasz 3.7.0: {BEST_KNOWN_SECONDS:.0f} s, not in this run", BEST_KNOWN_SECONDS, changes),
        ("  of which this process's CPU", done.cpu, "fresh", took, ""),
    )
    for name, seconds, against, base, note in rows:
        yield Figure(group=group, name=name, samples=(seconds,), against=against, base=base, note=note)
    for step, seconds in sorted(fresh["seconds"].items(), key=lambda item: -item[1])[:STEPS_SHOWN]:
        yield Figure(group=group, name=f"  of which {step}", samples=(seconds,), against="fresh", base=took)


def _remote(summary: dict[str, Any]) -> str:
    commands, sent = max(summary["commands"].values()), max(summary["sent"].values())
    size = f"{sent / 1e6:.0f} MB" if sent >= 1e6 else f"{sent:,} bytes"
    return f"at most {commands} remote commands and {size} a host"


def _bytes(group: str, made: lab.Lab, fresh: dict[str, Any], bundle: Bundle, place: Path, repeat: int) -> Iterator[Figure]:
    """The step that sends the binaries, compared with the same bytes to each host through the plain ssh client."""
    paths = (*(b.zst_path for b in bundle.binaries), *(i.zst_path for i in bundle.images))
    everything = b"".join(path.read_bytes() for path in paths)
    for host, size in fresh["sent"].items():
        (place / f"{host}.blob").write_bytes(everything[:size])
    plain = [
        bench_lab.everywhere(made, made.hosts, "cat > /root/blob && rm /root/blob", stdin=lambda name: place / f"{name}.blob")
        for _ in range(repeat)
    ]
    total = sum((place / f"{host}.blob").stat().st_size for host in fresh["sent"])
    yield Figure(
        group=group,
        name="the binaries sent, unpacked, summed, synced",
        samples=(fresh["seconds"][step_of(CLUSTER)["binaries"]],),
        against=f"cat | ssh of the same {total / 1e6:,.0f} MB ({min(plain):.2f} s)",
        base=min(plain),
        note=_remote(fresh),
    )


def _compared(group: str, later: _Later, fresh: float) -> Iterator[Figure]:
    """A run without changes, compared with the least time for one command on every host, with a fresh run, and in parts."""
    floor, idle = min(later.floor), tuple(done.seconds for done in later.idle)
    beyond = tuple(done.seconds - python for done, python in zip(later.idle, later.python, strict=True))
    against = f"ssh true to all at once ({floor * 1000:.0f} ms)"
    repaired, inner = tuple(done.seconds for done in later.repaired), tuple(s["total"] for s in later.inner)
    parts = [(f"    of which {n}", tuple(s["seconds"][n] for s in later.inner), "nothing to do", min(idle), "") for n in PARTS]
    compared = (
        ("nothing to do", idle, "fresh", fresh, _remote(later.inner[-1])),
        ("nothing to do", idle, against, floor, ""),
        ("  less Python's start and imports", beyond, f"{against}; aim: 5", floor, ""),
        ("  of which Python's start and imports", tuple(later.python), "nothing to do", min(idle), ""),
        ("  of which the run itself", inner, "nothing to do", min(idle), ""),
        *parts,
        ("  of which this process's CPU", tuple(done.cpu for done in later.idle), "nothing to do", min(idle), ""),
        ("one file changed on each", repaired, "nothing to do", min(idle), _remote(later.repairing[-1])),
    )
    for name, values, what, base, note in compared:
        yield Figure(group=group, name=name, samples=values, against=what, base=base, note=note)
