"""The long proofs: what each one repeats, and how often. A new proof is a line in `PROOFS`."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.conftest import REPOSITORY, Cluster, kubewright, write_inventory
from tests.cluster.killing import kill_fresh, kill_rolling, reset
from tests.cluster.killing_rotations import AFTER_EACH_HOST_TOO, kill_rotation, undo_rotation

LAB_NAME = "soak"
HOSTS = """hosts:
  - {name: m1, address: 10.90.0.11, roles: [master, worker]}
  - {name: m2, address: 10.90.0.12, roles: [master]}
  - {name: m3, address: 10.90.0.13, roles: [master]}
"""
_KILLS = 3
_WORLDS = 250
_FILES = 2000
UNDONE = (("rotate-ca", "etcd"), ("rotate-service-account",), ("rotate-ca", "kubernetes"), ("rotate-ca", "front-proxy"))
ROTATIONS = (("rotate-ca", "etcd"), ("rotate-service-account",), ("rotate-ca", "kubernetes", "--restart-workloads", "--drop"))

MARKED = sorted(path.name for path in (REPOSITORY / "tests/cluster").glob("test_*.py") if "pytest.mark.soak" in path.read_text())
"""Files of cluster tests that `make test` leaves out in part or whole."""


class Ground:
    """Three hosts, made when a proof first needs them. `folder` is for their inventory."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._cluster: Cluster | None = None
        self.installed = False

    def hosts(self) -> Cluster:
        if self._cluster is None:
            kubewright("lab", "down", "--name", LAB_NAME)
            kubewright("lab", "up", "--name", LAB_NAME, "--hosts", "m1,m2,m3")
            self._cluster = Cluster(inventory=write_inventory(self.folder, LAB_NAME, HOSTS), lab_name=LAB_NAME)
        return self._cluster

    def leave(self) -> None:
        """Take the hosts down until a proof needs them again. Those of another process stay."""
        if self._cluster is not None:
            kubewright("lab", "down", "--name", LAB_NAME)
        self._cluster, self.installed = None, False

    def bare(self) -> Cluster:
        cluster = self.hosts()
        if self.installed:
            reset(cluster)
        self.installed = True
        return cluster

    def serving(self) -> Cluster:
        cluster = self.hosts()
        if not self.installed:
            cluster.kubewright("apply")
        self.installed = True
        return cluster


@contextlib.contextmanager
def ground() -> Iterator[Ground]:
    """Three hosts, taken down at the end. Needs root."""
    with tempfile.TemporaryDirectory(prefix="soak.") as folder:
        on = Ground(Path(folder))
        try:
            yield on
        finally:
            on.leave()


@dataclass(frozen=True, kw_only=True)
class Proof:
    """A test to repeat `wanted` times, `at_once` of them per call of `carry_out`, which raises when one fails."""

    name: str
    wanted: int
    at_once: int
    carry_out: Callable[[Ground, int, int], str]
    """Takes the seed and the number of repetitions; returns a sentence with the result."""


def _pytest(*arguments: str, **environment: str) -> str:
    command = [sys.executable, "-m", "pytest", "-q", "--tb=short", *arguments]
    done = subprocess.run(
        command, cwd=REPOSITORY, env={**os.environ, **environment}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        check=False,
    )  # fmt: skip
    if done.returncode != 0:
        raise AssertionError(f"{' '.join(command)}\n{done.stdout[-8000:]}")
    return done.stdout.strip().splitlines()[-1]


def _rotation(cluster: Cluster, *arguments: str) -> str:
    killed = kill_rotation(cluster, *arguments, at=AFTER_EACH_HOST_TOO)
    assert "nothing to change" in cluster.kubewright("apply").stdout
    cluster.kubewright("verify")
    return f"{' '.join(arguments)}: killed {len(killed)} times ({'; '.join(killed)})"


def _marked(file: str) -> Proof:
    """The tests of a file that `make test` leaves out. It runs the others."""

    def carry_out(ground: Ground, _seed: int, _count: int) -> str:
        # The file brings up its own hosts, and addresses are the same in every lab.
        ground.leave()
        return _pytest(f"tests/cluster/{file}", "-m", "soak", KUBEWRIGHT_SOAK="1")

    return Proof(name=file, wanted=1, at_once=1, carry_out=carry_out)


PROOFS = (
    Proof(
        name="kills of a fresh apply",
        wanted=10,
        at_once=_KILLS,
        carry_out=lambda ground, seed, kills: kill_fresh(ground.bare(), seed, kills),
    ),
    Proof(
        name="kills of a rolling apply",
        wanted=10,
        at_once=_KILLS,
        carry_out=lambda ground, seed, kills: kill_rolling(ground.serving(), seed, kills),
    ),
    Proof(
        name="rotations killed in every stage",
        wanted=len(ROTATIONS),
        at_once=1,
        carry_out=lambda ground, seed, _count: _rotation(ground.serving(), *ROTATIONS[seed % len(ROTATIONS)]),
    ),
    Proof(
        name="rotations undone",
        wanted=len(UNDONE),
        at_once=1,
        carry_out=lambda ground, seed, _count: undo_rotation(ground.serving(), *UNDONE[seed % len(UNDONE)]),
    ),
    *(_marked(file) for file in MARKED),
    Proof(
        name="simulated worlds",
        wanted=3000,
        at_once=_WORLDS,
        carry_out=lambda _ground, seed, count: _pytest("tests/simulation", "--seeds", f"{1000 + seed * count}:{count}"),
    ),
    Proof(
        name="damaged inventories through the command line",
        wanted=20_000,
        at_once=_FILES,
        carry_out=lambda _ground, seed, _count: _pytest(
            "tests/unit/cli/test_fuzz.py", f"--hypothesis-seed={seed}", KUBEWRIGHT_SOAK="1"
        ),
    ),
)
