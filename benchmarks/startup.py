"""The start time of the program: until it contacts a host, or prints its help."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks import clusters
from benchmarks.figures import Figure
from benchmarks.processes import run

GROUP = "start (CPU s)"
IMPORTS = "import kubewright.cli.app, kubewright.cli.cluster, kubewright.verbs.apply, deploy.waves"
"""What `apply` and `plan` import before they connect."""


def measure(repeat: int, say: Callable[[str], None]) -> Iterator[Figure]:
    """The help, a check of a small cluster.yaml, and the imports of `apply`, each compared with the interpreter alone."""
    say("starting the program")
    with tempfile.TemporaryDirectory() as place:
        (Path(place) / "cluster.yaml").write_text(clusters.document(clusters.addresses(5)))
        commands = {
            "kubewright --help; aim: under 0.5 s": ("-m", "kubewright", "--help"),
            "kubewright validate, 5 hosts": ("-m", "kubewright", "validate", "-i", place),
            "imports of apply and plan": ("-c", IMPORTS),
        }
        rounds = range(3 * repeat)  # short, and easily disturbed
        bare = min(run(sys.executable, "-c", "pass").cpu for _ in rounds)
        for name, arguments in commands.items():
            done = [run(sys.executable, *arguments) for _ in rounds]
            yield Figure(
                group=GROUP,
                name=name,
                samples=tuple(d.cpu for d in done),
                against=f"python -c pass ({bare * 1000:.0f} ms)",
                base=bare,
                note=f"{min(d.seconds for d in done) * 1000:.0f} ms on the wall",
            )
