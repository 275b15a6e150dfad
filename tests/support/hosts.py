"""A host that is exactly as desired, for tests that change one thing."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from kubewright.observe.observed import Entry, Observed, UnitState
from kubewright.plan.desired import Desired, File, Stored
from tests.support.scenarios import recorded


def entry_of(file: File) -> Entry:
    return Entry(kind="f", mode=file.mode, owner=file.owner, group=file.group, size=1, sha256=file.sha256)


def fresh() -> Observed:
    return recorded("debian12-cgroup1")


def carried_out(desired: Desired, on: Observed | None = None) -> Observed:
    """The state of a host after `desired` was applied: the model of act.sh for no-op tests."""
    host = on or fresh()
    entries: dict[str, Entry] = dict(host.entries)
    for directory in desired.directories:
        entries[directory.path] = Entry(kind="d", mode=directory.mode, owner=directory.owner, group=directory.group, size=4096)
    for file in (*desired.files, *desired.late):
        entries[file.path] = entry_of(file)
    for link in desired.links:
        entries[link.path] = Entry(kind="l", mode=0o777, owner="root", group="root", size=1, target=link.target)
    for p in desired.payloads:
        entries[p.path] = Entry(kind="f", mode=p.mode, owner="root", group="root", size=p.size)
    started: dict[str, Mapping[str, str]] = dict(host.started_with)
    for unit in desired.units:
        record = {f.path: f.sha256 for f in desired.files if unit.name in f.restarts}
        started[unit.name] = record | {link.path: link.target for link in desired.links if unit.name in link.restarts}
    return dataclasses.replace(
        host,
        packages=host.packages | set(desired.packages),
        users=host.users | set(desired.users),
        entries=entries,
        manifest={**host.manifest, **{p.path: (p.sha256, p.size) for p in desired.payloads}},
        units={**host.units, **{u.name: UnitState(active="active", enabled="enabled") for u in desired.units}},
        started_with=started,
        facts={**host.facts, **{about: value for task in desired.tasks for about, value in task.evidence.items()}},
    )


def key(path: str, sha256: str, restarts: tuple[str, ...] = ()) -> File:
    return File(path=path, content=Stored(name="key", sha256=sha256), mode=0o600, restarts=restarts)
