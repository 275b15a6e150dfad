"""The benchmarks' own lab: made, reached with the plain ssh client, taken down whatever happens. Another lab is never touched."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks import clusters
from kubewright import lab

NAME = "bench"
_PROGRAM = (sys.executable, "-m", "kubewright", "lab")


@dataclass(frozen=True, kw_only=True)
class Done:
    """How long a program took on the wall, and what it wrote on standard output."""

    seconds: float
    output: str


def run(*command: str, allowed: tuple[int, ...] = (0,)) -> Done:
    """A program, timed. RuntimeError, with the end of what it said, for another exit status than `allowed`."""
    began = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    seconds = time.monotonic() - began
    if done.returncode not in allowed:
        said = "\n".join((done.stdout + done.stderr).strip().splitlines()[-5:])
        raise RuntimeError(f"{' '.join(command)}: {done.returncode}: {said}")
    return Done(seconds=seconds, output=done.stdout)


@contextmanager
def up(hosts: Sequence[str]) -> Iterator[lab.Lab]:
    """A lab of those hosts. What an earlier, killed run left of it goes first."""
    run(*_PROGRAM, "down", "--name", NAME)
    try:
        run(*_PROGRAM, "up", "--name", NAME, "--hosts", ",".join(hosts))
        yield lab.load(NAME)
    finally:
        run(*_PROGRAM, "down", "--name", NAME)


def inventory(folder: Path, made: lab.Lab, count: int) -> Path:
    """A cluster of the lab's first `count` hosts, in a folder of its own."""
    folder.mkdir(parents=True)
    head = f"lab: {NAME}\nssh: {{key: {made.key}, known_hosts: {made.known_hosts}}}"
    addresses = {host.name: str(host.address) for host in made.hosts[:count]}
    (folder / "cluster.yaml").write_text(clusters.document(addresses, head=head))
    return folder


def _ssh(made: lab.Lab, host: lab.LabHost, command: str) -> list[str]:
    options = [f"UserKnownHostsFile={made.known_hosts}", "IdentitiesOnly=yes", "BatchMode=yes", "LogLevel=ERROR"]
    return ["ssh", "-i", str(made.key), *(f"-o{o}" for o in options), f"root@{host.address}", command]


def everywhere(made: lab.Lab, command: str, *, stdin: Path = Path("/dev/null")) -> float:
    """Seconds of `command` on all hosts at once, each over a new connection of the plain ssh client, with `stdin`."""
    began = time.monotonic()
    with lab.entered(made.name):
        jobs = [_start(_ssh(made, host, command), stdin) for host in made.hosts]
    failed = [host.name for host, job in zip(made.hosts, jobs, strict=True) if job.wait() != 0]
    if failed:
        raise RuntimeError(f"ssh {command!r} failed on {', '.join(failed)}")
    return time.monotonic() - began


def _start(command: list[str], stdin: Path) -> subprocess.Popen[bytes]:
    with stdin.open("rb") as source:
        return subprocess.Popen(command, stdin=source, stdout=subprocess.DEVNULL)
