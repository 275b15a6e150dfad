"""One subtree a host in every hierarchy that its systemd will see: version 1, version 2, or both (hybrid)."""

from __future__ import annotations

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
    """The controllers that there are."""
    if is_v2():
        return set((MOUNT / "cgroup.controllers").read_text().split())
    return {name for path in hierarchies() for name in path.name.split(",")}


def make(tag: str) -> list[Path]:
    """The cgroups of that name, one in each hierarchy."""
    made = []
    if is_v2():
        # Already on where systemd runs the machine.
        wanted = {"cpu", "cpuset", "memory", "pids", "io"} & controllers()
        enabled = set((MOUNT / "cgroup.subtree_control").read_text().split())
        for name in sorted(wanted - enabled):
            (MOUNT / "cgroup.subtree_control").write_text(f"+{name}")
    for hierarchy in hierarchies():
        path = hierarchy / tag
        path.mkdir(exist_ok=True)
        if (path / "cpuset.cpus").exists() and not is_v2():
            # Version 1 takes no process before these are set.
            for name in ("cpuset.cpus", "cpuset.mems"):
                (path / name).write_text((hierarchy / name).read_text())
        made.append(path)
    return made


def _tree(path: Path) -> Iterator[Path]:
    """`path` and all cgroups below it, the deepest first."""
    for child in sorted(path.iterdir()):
        if child.is_dir():
            yield from _tree(child)
    yield path


def _one(tag: str) -> Path:
    """The hierarchy that is asked for processes: any would do."""
    return hierarchies()[0] / tag


def processes(tag: str) -> list[int]:
    """Every process of that host, by the machine's ids. Whatever is in these cgroups was started by the lab."""
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
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    return bool(pids)


def tags(prefix: str) -> set[str]:
    """The names of all cgroups that begin so."""
    return {p.name for hierarchy in hierarchies() for p in hierarchy.iterdir() if p.is_dir() and p.name.startswith(prefix)}


def remove(tag: str) -> None:
    """Remove that host's cgroups. OSError (EBUSY) while a process is in one."""
    for hierarchy in hierarchies():
        if (hierarchy / tag).exists():
            for path in _tree(hierarchy / tag):
                path.rmdir()
