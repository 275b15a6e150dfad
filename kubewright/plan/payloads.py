"""The versioned folders of binaries and images that a host keeps: those of this release and of the one before. Pure.

A host's record lists the payloads of its release (`now PATH`) and of the one before (`before PATH`). It is
rewritten at the end of a run that changed them. A host of a cluster that an older kubewright made has no record, and keeps
everything until its next change of versions.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from kubewright.artifacts import UNKNOWN
from kubewright.model.places import HOME
from kubewright.observe.observed import PAYLOADS, Observed
from kubewright.plan.desired import Desired, File

NOW, BEFORE = "now", "before"
_FOLDER = re.compile(rf"{HOME}/(?P<name>\w[\w.+-]*)/(?P<version>\w[\w.+-]*)", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class Kept:
    """`record`: None when the host's is right. `gone`: unneeded folders."""

    record: File | None = None
    gone: tuple[str, ...] = ()


def first_record(everything: Iterable[Desired], observed: Observed) -> File | None:
    """The record of a host without payloads, written before the first one."""
    wanted = _paths(everything)
    return _record(wanted, frozenset()) if wanted and not (observed.payloads or observed.manifest) else None


def kept(everything: Iterable[Desired], observed: Observed, removed: frozenset[str] = frozenset()) -> Kept:
    """The work on payloads after `everything` is installed. `removed`: links that this plan removes."""
    everything = tuple(everything)
    wanted = _paths(everything)
    if any(payload.sha256 == UNKNOWN for desired in everything for payload in desired.payloads):
        return Kept()  # a preview without the artifacts: their names are unknown
    now, before = _of(NOW, observed), _of(BEFORE, observed)
    former = now or frozenset(observed.manifest) or wanted
    if former != wanted:
        before = former - wanted
    due = former != wanted if now else bool(before)
    mine = removed | {link.path for desired in everything for link in desired.links}
    others = {e.target for path, e in observed.entries.items() if e.kind == "l" and path not in mine}
    needed = {folder for path in (*wanted, *before, *others) if (folder := path.rpartition("/")[0])}
    there = (path for path, entry in observed.entries.items() if entry.kind == "d" and _FOLDER.fullmatch(path))
    return Kept(record=_record(wanted, before) if due else None, gone=tuple(sorted(p for p in there if p not in needed)))


def name_and_version(folder: str) -> tuple[str, str]:
    """The two parts of a versioned folder's name. ValueError for another path."""
    found = _FOLDER.fullmatch(folder)
    if found is None:
        raise ValueError(f"not a versioned folder below {HOME}: {folder}")
    return found["name"], found["version"]


def _paths(everything: Iterable[Desired]) -> frozenset[str]:
    return frozenset(payload.path for desired in everything for payload in desired.payloads)


def _of(kind: str, observed: Observed) -> frozenset[str]:
    return frozenset(path for k, _, path in (line.partition(" ") for line in observed.payloads) if k == kind)


def _record(now: frozenset[str], before: frozenset[str]) -> File:
    lines = [*(f"{BEFORE} {path}\n" for path in sorted(before)), *(f"{NOW} {path}\n" for path in sorted(now))]
    return File(path=PAYLOADS, content="".join(lines).encode(), mode=0o600)
