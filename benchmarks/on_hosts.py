"""What a run costs on hosts: fresh, with nothing to change, with one file changed on each; and `plan` of many bare hosts."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable, Iterator
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

Say = Callable[[str], None]


def _names(count: int) -> list[str]:
    return [f"h{number}" for number in range(1, count + 1)]


def _apply(inventory: Path) -> tuple[float, dict[str, Any]]:
    done = bench_lab.run(sys.executable, "-m", "benchmarks.apply_run", str(inventory))
    return done.seconds, json.loads(done.output)


def _runs(inventory: Path, repeat: int, before: Callable[[], object] = lambda: None) -> list[tuple[float, dict[str, Any]]]:
    """`repeat` runs, `before` ahead of each and outside its time."""
    runs = []
    for _ in range(repeat):
        before()
        runs.append(_apply(inventory))
    return runs


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
        yield from _steps(group, fresh)
        yield from _bytes(group, made, fresh, bundle, Path(place), repeat)
        say("applies that find nothing to do")
        floor = min(bench_lab.everywhere(made, "true") for _ in range(max(3, repeat)))
        idle = _runs(inventory, repeat)
        assert not any(r["changed"] for _, r in idle), "a second apply found something to change"
        yield from _idle(group, idle, floor, took, repeat)
        say(f"applies after {DRIFTING} was changed on each host")
        drift = f"echo '# drift' >> {DRIFTING}"
        mended = _runs(inventory, repeat, lambda: bench_lab.everywhere(made, drift))
        assert all(len(r["changed"]) == count for _, r in mended), "the drift was not mended on every host"
        yield Figure(
            group=group,
            name="one file changed on each",
            samples=tuple(s for s, _ in mended),
            against="nothing to do",
            base=min(s for s, _ in idle),
            note=_remote(mended[-1][1]),
        )


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
    plain = [bench_lab.everywhere(made, "cat > /root/blob; rm /root/blob", stdin=blob) for _ in range(min(repeat, 3))]
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


def _idle(group: str, idle: list[tuple[float, dict[str, Any]]], floor: float, fresh: float, repeat: int) -> Iterator[Figure]:
    """A run that finds nothing: against the least that asking every host can take, against a fresh one, and in parts."""
    python = [bench_lab.run(sys.executable, "-c", "import kubewright.engine.apply").seconds for _ in range(max(3, repeat))]
    samples, inner = tuple(seconds for seconds, _ in idle), tuple(r["total"] for _, r in idle)
    compared = (
        ("nothing to do", samples, f"ssh true to all at once ({floor * 1000:.0f} ms)", floor, _remote(idle[-1][1])),
        ("nothing to do", samples, "fresh", fresh, ""),
        ("  of which Python's start and imports", tuple(python), "nothing to do", min(samples), ""),
        ("  of which the run itself", inner, "nothing to do", min(samples), ""),
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
                note="the hosts are bare and share this machine's cores" if before is None else "",
            )
            before = (size, min(done.seconds for done in runs))
