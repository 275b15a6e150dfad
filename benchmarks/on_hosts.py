"""What a run costs on hosts: fresh, with nothing to change, with one file changed on each; and `plan` of many bare hosts."""

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
from kubewright import lab
from kubewright.artifacts import Bundle, SourceConfig, obtain_all
from kubewright.artifacts.gomod import machine_arch
from kubewright.releases import DEFAULT

GROUP, PLANS = "apply on {} hosts of a lab", "plan on bare hosts of a lab"
DRIFTING = "/etc/crictl.yaml"
"""A file that is on every host of pods, and that no unit restarts for."""
STEPS_SHOWN = 6
NOTE = "bare hosts, only observed: an overlay each is enough; all share this machine's cores"

Say = Callable[[str], None]


def _names(count: int) -> list[str]:
    return [f"h{number}" for number in range(1, count + 1)]


def _apply(inventory: Path) -> tuple[float, dict[str, Any]]:
    done = bench_lab.run(sys.executable, "-m", "benchmarks.apply_run", str(inventory))
    return done.seconds, json.loads(done.output)


@dataclass(kw_only=True)
class _Later:
    """Seconds and summaries of runs on a cluster that stands, in turns, so that all meet the same disturbances."""

    floor: list[float] = field(default_factory=list)
    python: list[float] = field(default_factory=list)
    idle: list[tuple[float, dict[str, Any]]] = field(default_factory=list)
    mended: list[tuple[float, dict[str, Any]]] = field(default_factory=list)


def _later(inventory: Path, made: lab.Lab, repeat: int) -> _Later:
    found = _Later()
    for _ in range(repeat):
        found.floor.append(bench_lab.everywhere(made, "true"))
        found.python.append(bench_lab.run(sys.executable, "-c", "import kubewright.engine.apply").seconds)
        found.idle.append(_apply(inventory))
        bench_lab.everywhere(made, f"echo '# drift' >> {DRIFTING}")
        found.mended.append(_apply(inventory))
    assert not any(r["changed"] for _, r in found.idle), "a second apply found something to change"
    assert all(len(r["changed"]) == len(made.hosts) for _, r in found.mended), "the drift was not mended on every host"
    return found


def measure_apply(count: int, repeat: int, say: Say) -> Iterator[Figure]:
    """A fresh cluster of `count` hosts, then what later runs cost."""
    group = GROUP.format(count)
    say("artifacts")
    bundle = obtain_all(DEFAULT, machine_arch(), SourceConfig(), say, test_images=False)
    with tempfile.TemporaryDirectory() as place, bench_lab.up(_names(count)) as made:
        inventory = bench_lab.inventory(Path(place) / "inventory", made, count)
        say(f"a fresh apply on {count} hosts")
        took, fresh = _apply(inventory)
        assert fresh["changed"], "a bare host needs everything"
        yield Figure(group=group, name="fresh", samples=(took,), note=f"{sum(n for *_, n in fresh['changed']):,} changes")
        yield Figure(group=group, name="  of which this process's CPU", samples=(fresh["cpu"],), against="the run", base=took)
        yield from _steps(group, fresh)
        yield from _bytes(group, made, fresh, bundle, Path(place), repeat)
        say(f"applies with nothing to do, and after {DRIFTING} was changed on each host")
        yield from _compared(group, _later(inventory, made, repeat), took)


def _steps(group: str, fresh: dict[str, Any]) -> Iterator[Figure]:
    """Where a fresh run's time goes, by its own summary: the longest steps, as shares of the whole."""
    longest = sorted(fresh["seconds"].items(), key=lambda item: -item[1])[:STEPS_SHOWN]
    for step, seconds in longest:
        yield Figure(group=group, name=f"  of which {step}", samples=(seconds,), against="the run", base=fresh["total"])


def _remote(run: dict[str, Any]) -> str:
    commands, sent = max(run["commands"].values()), max(run["sent"].values())
    size = f"{sent / 1e6:.0f} MB" if sent >= 1e6 else f"{sent:,} bytes"
    return f"at most {commands} remote commands and {size} a host"


def _bytes(group: str, made: lab.Lab, fresh: dict[str, Any], bundle: Bundle, place: Path, repeat: int) -> Iterator[Figure]:
    """The step that sends the binaries, against the same number of bytes of them through the plain ssh client."""
    size = max(fresh["sent"].values())
    blob = place / "blob"
    with blob.open("wb") as target:
        for path in (*(b.zst_path for b in bundle.binaries), *(i.zst_path for i in bundle.images)):
            target.write(path.read_bytes()[: max(0, size - target.tell())])
    plain = [bench_lab.everywhere(made, "cat > /root/blob && rm /root/blob", stdin=blob) for _ in range(min(repeat, 3))]
    size = blob.stat().st_size
    blob.unlink()
    yield Figure(
        group=group,
        name="the binaries sent, unpacked, summed, synced",
        samples=(fresh["seconds"]["binaries"],),
        against=f"cat | ssh of {size / 1e6:.0f} MB to each ({min(plain):.2f} s)",
        base=min(plain),
        note=_remote(fresh),
    )


def _compared(group: str, later: _Later, fresh: float) -> Iterator[Figure]:
    """A run that finds nothing: against the least that asking every host can take, against a fresh one, and in parts."""
    floor, idle = min(later.floor), tuple(seconds for seconds, _ in later.idle)
    inner, mended = tuple(r["total"] for _, r in later.idle), tuple(seconds for seconds, _ in later.mended)
    compared = (
        ("nothing to do", idle, f"ssh true to all at once ({floor * 1000:.0f} ms)", floor, _remote(later.idle[-1][1])),
        ("nothing to do", idle, "fresh", fresh, ""),
        ("  of which Python's start and imports", tuple(later.python), "nothing to do", min(idle), ""),
        ("  of which the run itself", inner, "nothing to do", min(idle), ""),
        ("  of which this process's CPU", tuple(r["cpu"] for _, r in later.idle), "nothing to do", min(idle), ""),
        ("one file changed on each", mended, "nothing to do", min(idle), _remote(later.mended[-1][1])),
    )
    for name, values, against, base, note in compared:
        yield Figure(group=group, name=name, samples=values, against=against, base=base, note=note)


def measure_plans(sizes: tuple[int, ...], repeat: int, say: Say) -> Iterator[Figure]:
    """`plan` of clusters of those sizes, all of them the first hosts of one lab; nothing is installed on any."""
    with tempfile.TemporaryDirectory() as place, bench_lab.up(_names(max(sizes))) as made:
        before: tuple[int, float] | None = None
        for size in sizes:
            say(f"plan of {size} hosts")
            inventory = bench_lab.inventory(Path(place) / str(size), made, size)
            command = (sys.executable, "-m", "kubewright", "plan", "-i", str(inventory))
            runs = [bench_lab.run(*command, allowed=(2,)) for _ in range(repeat)]  # 2: changes are pending
            yield Figure(
                group=PLANS,
                name=f"{size} hosts",
                samples=tuple(done.seconds for done in runs),
                against=f"{before[0]} hosts; proportional would be {size / before[0]:.3g}" if before else "",
                base=before[1] if before else None,
                note=NOTE if before is None else "",
            )
            before = (size, min(done.seconds for done in runs))
