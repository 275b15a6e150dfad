"""The benchmarks' own lab: brought up, reached with the plain ssh client, always taken down. It touches no other lab."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks import clusters
from kubewright import lab
from kubewright.artifacts import Bundle
from kubewright.plan.desired import Payload

NAME = "bench"
NOTHING = Path("/dev/null")


@contextmanager
def up(count: int, say: Callable[[str], None], *, layer: Path | None = None) -> Iterator[lab.Lab]:
    """A lab of `count` hosts over `layer`, after removal of a killed run's leftovers."""
    lab.down(NAME)
    made = lab.new_lab(NAME, tuple(f"h{number}" for number in range(1, count + 1)))
    try:
        lab.up(made, say, layer=layer)
        yield made
    finally:
        lab.down(NAME)


def inventory(folder: Path, made: lab.Lab, count: int) -> Path:
    """A cluster of the lab's first `count` hosts, in a folder of its own."""
    folder.mkdir(parents=True)
    head = f"lab: {NAME}\nssh: {{key: {made.key}, known_hosts: {made.known_hosts}}}"
    addresses = {host.name: str(host.address) for host in made.hosts[:count]}
    (folder / "cluster.yaml").write_text(clusters.document(addresses, head=head))
    return folder


def binaries(folder: Path, bundle: Bundle, payloads: Iterable[Payload]) -> Path:
    """A layer with `payloads` in the places where `apply` puts them, with manifests."""
    local = {a.sha256: a.path for a in bundle.binaries} | {i.sha256: i.path for i in bundle.images}
    for payload in payloads:
        target = folder / payload.path.lstrip("/")
        target.parent.mkdir(parents=True)
        target.write_bytes(local[payload.sha256].read_bytes())
        target.chmod(payload.mode)
        (target.parent / ".manifest").write_text(f"{payload.sha256} {payload.size} {payload.path}\n")
    return folder


def _ssh(made: lab.Lab, host: lab.LabHost, command: str) -> list[str]:
    options = [f"UserKnownHostsFile={made.known_hosts}", "IdentitiesOnly=yes", "BatchMode=yes", "LogLevel=ERROR"]
    return ["ssh", "-i", str(made.key), *(f"-o{o}" for o in options), f"root@{host.address}", command]


def everywhere(made: lab.Lab, hosts: Sequence[lab.LabHost], command: str, *, stdin: Callable[[str], Path] | None = None) -> float:
    """Seconds of `command` on `hosts` in parallel, each over a new connection of the plain ssh client, with that host's
    `stdin`."""
    began = time.monotonic()
    with lab.entered(made.name):
        jobs = [_start(_ssh(made, host, command), stdin(host.name) if stdin else NOTHING) for host in hosts]
    failed = [host.name for host, job in zip(hosts, jobs, strict=True) if job.wait() != 0]
    if failed:
        raise RuntimeError(f"ssh {command[:60]!r} failed on {', '.join(failed)}")
    return time.monotonic() - began


def _start(command: list[str], stdin: Path) -> subprocess.Popen[bytes]:
    with stdin.open("rb") as source:
        return subprocess.Popen(command, stdin=source, stdout=subprocess.DEVNULL)
