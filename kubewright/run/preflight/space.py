"""Whether what a run sends fits on the disks of one host. Pure; asked once the sizes of all artifacts are known."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from kubewright.errors import Problem
from kubewright.model.places import HOME
from kubewright.observe.observed import Observed
from kubewright.plan.changes import Changes

SPARE = 100 << 20
"""Bytes that must stay free beside what is sent: for logs, and for what the run itself writes."""
MIB = 1 << 20


def findings(name: str, host: Observed, changes: Iterable[Changes]) -> Iterator[Problem]:
    """A problem for each file system that is too small. Folders on one file system share its space."""
    needs: dict[str, dict[str, int]] = {}
    for folder, size in _needs(tuple(changes)).items():
        listed = _listed(folder, host)
        if size and listed is not None:
            needs.setdefault(host.file_systems.get(listed, listed), {})[folder] = size
    for file_system, folders in needs.items():
        free = min(kib for path, kib in host.free_kib.items() if host.file_systems.get(path, path) == file_system) << 10
        needed = sum(folders.values()) + SPARE
        if free < needed:
            parts = ", ".join(f"{_up(size)} MiB for {folder}" for folder, size in folders.items())
            yield Problem(
                where=name,
                what=f"too little space under {' and '.join(folders)} ({free // MIB} MiB free)",
                allowed=f"at least {_up(needed)} MiB: {parts}, and {SPARE // MIB} MiB to spare",
                todo="free some or mount a larger disk there",
            )


def _needs(changes: tuple[Changes, ...]) -> dict[str, int]:
    """The most bytes that are written below each folder at one time."""
    payloads = [payload for change in changes for payload in change.payloads]
    # All are unpacked beside what is there, one after the other; the compressed bytes of each go once it is unpacked.
    needs = {HOME: sum(p.size for p in payloads) + max((p.packed - p.there for p in payloads), default=0)}
    for folder, size in (file.fills for change in changes for file in change.late if file.fills):
        needs[folder] = needs.get(folder, 0) + size
    return needs


def _listed(folder: str, host: Observed) -> str | None:
    """The nearest folder above whose free space is known."""
    above = [path for path in host.free_kib if path in ("/", folder) or folder.startswith(f"{path}/")]
    return max(above, key=len, default=None)


def _up(size: int) -> int:
    return -(-size // MIB)
