"""One subtree a host in every hierarchy that its systemd will see: version 1, version 2, or both (hybrid)."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

MOUNT = Path("/sys/fs/cgroup")


def is_v2() -> bool:
    """Whether the machine has one unified hierarchy."""
    return (MOUNT / "cgroup.controllers").exists()


def hierarchies() -> list[Path]:
    """The mount points of all hierarchies."""
    if is_v2():
        return [MOUNT]
    # `cpu` may be a link to `cpu,cpuacct`.
    return sorted({p.resolve() for p in MOUNT.iterdir() if (p / "cgroup.procs").exists()})


def controllers() -> set[str]:
    """The available controllers."""
    if is_v2():
        return set((MOUNT / "cgroup.controllers").read_text().split())
    return {name for path in hierarchies() for name in path.name.split(",")}


def not_handed_on(path: Path | None = None) -> list[str]:
    """The controllers that hosts need and that a version 2 cgroup (the top one) does not delegate to its children yet."""
    if not is_v2():
        return []
    path = path or MOUNT
    available = set((path / "cgroup.controllers").read_text().split())
    enabled = set((path / "cgroup.subtree_control").read_text().split())
    return sorted(({"cpu", "cpuset", "memory", "pids", "io"} & available) - enabled)


def hand_on(names: list[str], path: Path | None = None) -> None:
    """Delegate those controllers to the children of a version 2 cgroup (the top one)."""
    for name in names:
        ((path or MOUNT) / "cgroup.subtree_control").write_text(f"+{name}")


def withdraw(names: list[str]) -> None:
    """Undo `hand_on` at the top; a controller that other cgroups use by now stays."""
    for name in names:
        with contextlib.suppress(OSError):
            (MOUNT / "cgroup.subtree_control").write_text(f"-{name}")


def make(tag: str) -> list[Path]:
    """The cgroups that become a host's roots, one in each hierarchy."""
    if is_v2():
        # A cgroup that delegates controllers holds no process, so `unshare`, which waits for the host's init outside
        # of its namespaces, can't stay in the cgroup that is the root inside. See `step_aside`.
        (MOUNT / tag / "host").mkdir(parents=True, exist_ok=True)
        (MOUNT / tag / "outside").mkdir(exist_ok=True)
        hand_on(not_handed_on(MOUNT / tag), MOUNT / tag)
        return [MOUNT / tag / "host"]
    made = []
    for hierarchy in hierarchies():
        path = hierarchy / tag
        path.mkdir(exist_ok=True)
        if (path / "cpuset.cpus").exists():
            # Version 1 takes no process before these are set.
            for name in ("cpuset.cpus", "cpuset.mems"):
                (path / name).write_text((hierarchy / name).read_text())
        made.append(path)
    return made


def step_aside(tag: str, pid: int) -> bool:
    """On version 2, move `unshare` out of the host's root cgroup once it has started the host's init; boot.sh waits for that.

    False while it has not; ask again.
    """
    if not is_v2():
        return True
    if Path(f"/proc/{pid}/comm").read_text() != "unshare\n" or not Path(f"/proc/{pid}/task/{pid}/children").read_text():
        return False
    (MOUNT / tag / "outside" / "cgroup.procs").write_text(str(pid))
    return True


def _tree(path: Path) -> Iterator[Path]:
    """`path` and all cgroups below it, the deepest first."""
    for child in sorted(path.iterdir()):
        if child.is_dir():
            yield from _tree(child)
    yield path


def _one(tag: str) -> Path:
    """The hierarchy to read processes from: any of them serves."""
    return hierarchies()[0] / tag


def processes(tag: str) -> list[int]:
    """Every process of that host, by the machine's IDs. The lab started every process in these cgroups."""
    root = _one(tag)
    if not root.exists():
        return []
    found = []
    for path in _tree(root):
        try:
            found += [int(line) for line in (path / "cgroup.procs").read_text().split()]
        except OSError:  # a cgroup that went away meanwhile
            continue
    return found


def init(tag: str) -> int | None:
    """The process that is 1 inside that host."""
    for pid in processes(tag):
        try:
            status = Path(f"/proc/{pid}/status").read_text()
        except OSError:
            continue
        ids = next((line.split()[1:] for line in status.splitlines() if line.startswith("NSpid:")), [])
        if len(ids) > 1 and ids[1] == "1":
            return pid
    return None


def kill(tag: str) -> bool:
    """Kill every process of that host, its init first; whether there was any."""
    pids = processes(tag)
    first = init(tag)
    for pid in sorted(pids, key=lambda p: p != first):
        with contextlib.suppress(ProcessLookupError):
            _kill_one(tag, pid)
    return bool(pids)


def _kill_one(tag: str, pid: int) -> None:
    """Kill that process if it still belongs to that host. ProcessLookupError when it has ended."""
    descriptor = os.pidfd_open(pid)
    try:
        # While the descriptor is open, the ID can't be reused between this check and the signal.
        try:
            lines = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
        except FileNotFoundError:
            raise ProcessLookupError from None
        if any(line.split(":", 2)[2].split("/")[1] == tag for line in lines):
            signal.pidfd_send_signal(descriptor, signal.SIGKILL)
    finally:
        os.close(descriptor)


def tags(prefix: str) -> set[str]:
    """The names of all cgroups with that prefix."""
    return {p.name for hierarchy in hierarchies() for p in hierarchy.iterdir() if p.is_dir() and p.name.startswith(prefix)}


def remove(tag: str) -> None:
    """Remove that host's cgroups. OSError (EBUSY) while a process is in one."""
    for hierarchy in hierarchies():
        if (hierarchy / tag).exists():
            for path in _tree(hierarchy / tag):
                path.rmdir()
