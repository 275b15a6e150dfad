"""`plan` for growing numbers of hosts in one lab. They have the binaries already, in a layer that they share."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from benchmarks import bench_lab, clusters
from benchmarks.compute_run import contexts
from benchmarks.figures import Figure
from benchmarks.processes import run
from deploy.waves import ROLES
from kubewright import lab
from kubewright.artifacts import Bundle, SourceConfig, obtain_all
from kubewright.artifacts.gomod import machine_arch
from kubewright.model.build import make_plan
from kubewright.observe.script import script
from kubewright.plan.desired import Payload
from kubewright.plan.places import places
from kubewright.releases import DEFAULT
from kubewright.releases.systems import PROGRAMS
from kubewright.spec import loads

GROUP = "plan; binaries in an overlay layer that all hosts share"
SIZES = (5, 20, 50)
ASK = script(tuple(unit for role in ROLES for unit in role.units), PROGRAMS, places(ROLES))
"""The command that `plan` runs on a host."""


def _payloads(bundle: Bundle, folder: Path) -> set[Payload]:
    """The payloads of masters and workers."""
    plan = make_plan(loads(clusters.document(clusters.addresses(clusters.MASTERS + 1)).encode(), folder=folder))
    role, bare = next(role for role in ROLES if role.name == "binaries"), clusters.recorded()
    observed = {node.name: clusters.bare(bare, node) for node in plan.nodes}
    return {p for _, context in contexts(plan, observed, {}, bundle) for p in role.desired(context).payloads}


def measure(sizes: tuple[int, ...], repeat: int, say: Callable[[str], None]) -> Iterator[Figure]:
    """`plan` of clusters of those sizes, each the first hosts of one lab; compared with fewer hosts and with plain ssh."""
    bundle = obtain_all(DEFAULT, machine_arch(), SourceConfig(), say, test_images=False)
    with tempfile.TemporaryDirectory() as place:
        layer = bench_lab.binaries(Path(place) / "layer", bundle, _payloads(bundle, Path(place)))
        with bench_lab.up(max(sizes), say, layer=layer) as made:
            smaller: tuple[int, float] | None = None
            for size in sizes:
                say(f"plan of {size} hosts")
                inventory = bench_lab.inventory(Path(place) / str(size), made, size)
                least, figures = _size(inventory, made, made.hosts[:size], repeat, smaller)
                yield from figures
                smaller = smaller or (size, least)


def _size(
    inventory: Path, made: lab.Lab, hosts: Sequence[lab.LabHost], repeat: int, smaller: tuple[int, float] | None
) -> tuple[float, list[Figure]]:
    command = (sys.executable, "-m", "kubewright", "plan", "-i", str(inventory))
    runs, floor, asked = [], [], []
    for _ in range(repeat):
        floor.append(bench_lab.everywhere(made, hosts, "true"))
        asked.append(bench_lab.everywhere(made, hosts, ASK))
        runs.append(run(*command, allowed=(2,)))  # 2: changes are pending
    assert not any(" send " in done.output for done in runs), "the hosts have every binary"
    least, count = min(done.seconds for done in runs), len(hosts)
    against = f"{smaller[0]} hosts; linear would be {count / smaller[0]:.3g}" if smaller else ""
    rows = (
        (f"{count} hosts", tuple(done.seconds for done in runs), against, smaller[1] if smaller else None),
        ("  plan", (least,), f"ssh true to all at once ({min(floor):.2f} s)", min(floor)),
        ("  plan", (least,), f"ssh of plan's own command to all ({min(asked):.2f} s)", min(asked)),
        ("  of which this process's CPU", tuple(done.cpu for done in runs), "plan", least),
    )
    return least, [Figure(group=GROUP, name=n, samples=s, against=a, base=b) for n, s, a, b in rows]
