"""changes = desired - observed: the only diff in kubewright. Pure. An empty one is a no-op."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, replace

from kubewright.artifacts import UNKNOWN
from kubewright.observe.observed import Observed, UnitState
from kubewright.plan.desired import ClusterTask, Desired, Directory, File, Link, Payload, Unit


class Action(enum.StrEnum):
    """An action on a unit."""

    START = "start"
    RESTART = "restart"
    RELOAD = "reload"
    ENABLE = "enable"


@dataclass(frozen=True, kw_only=True)
class UnitChange:
    """One unit and the reason. `causes` are the paths whose content changed since the unit started."""

    unit: Unit
    action: Action
    causes: tuple[str, ...]
    record: Mapping[str, str]
    """The record of its start, written once it is ready: path -> SHA-256 or link target."""


@dataclass(frozen=True, kw_only=True)
class Due:
    """A task to do. `lacks`: the subjects of its evidence that the cluster does not show."""

    task: ClusterTask
    lacks: tuple[str, ...]
    there: tuple[str, ...] = ()
    """The objects that it removes and the cluster shows."""
    new: bool
    """Whether kubewright has installed nothing on the host yet: then a missing thing needs no explanation."""

    @property
    def sentences(self) -> tuple[str, ...]:
        left = (f"leave {each}, which may hold other people's data; kubewright never removes it" for each in self.task.leaves)
        return (*((self._sentence,) if self.lacks else ()), *(f"remove {each}" for each in self.there), *left)

    @property
    def _sentence(self) -> str:
        if len(self.lacks) == len(self.task.evidence):
            return self.task.title if self.new else f"{self.task.title} (nothing in the cluster shows that it is done)"
        more = f" and {len(self.lacks) - NAMED} more" if len(self.lacks) > NAMED else ""
        return f"{self.task.title} (missing or changed: {', '.join(self.lacks[:NAMED])}{more})"


NAMED = 5
"""The number of missing things that a sentence names."""


@dataclass(frozen=True, kw_only=True)
class Changes:
    """The differences on one host in one step. Falsy when there are none."""

    packages: tuple[str, ...] = ()
    users: tuple[str, ...] = ()
    directories: tuple[Directory, ...] = ()
    payloads: tuple[Payload, ...] = ()
    files: tuple[File, ...] = ()
    links: tuple[Link, ...] = ()
    units: tuple[UnitChange, ...] = ()
    late: tuple[File, ...] = ()
    tasks: tuple[Due, ...] = ()
    gone: tuple[str, ...] = ()
    reload: bool = False
    """systemd must read its unit files again."""

    def __bool__(self) -> bool:
        return any(vars(self).values())

    @property
    def tries(self) -> frozenset[str]:
        """The units that these changes restart for a cause that needs a trial."""
        restarts = (u for u in self.units if u.action is Action.RESTART and u.unit.trial)
        return frozenset(u.unit.name for u in restarts if u.unit.trial and set(u.causes) & set(u.unit.trial.causes))

    @property
    def gated(self) -> bool:
        """Whether a serving unit will be stopped: then one host at a time, after its gate."""
        return any(u.action is Action.RESTART for u in self.units)

    def described(self) -> tuple[tuple[str, str], ...]:
        """Each change as (its path or name, a line for a person), in the order of execution."""
        return (
            *((p, f"install package {p}") for p in self.packages),
            *((u, f"create user {u}") for u in self.users),
            *((d.path, f"create or correct folder {d.path}") for d in self.directories),
            *((p.path, _brought(p)) for p in self.payloads),
            *((f.path, f"write {f.path}{' (secret)' if f.secret else ''}") for f in self.files),
            *((link.path, f"link {link.path} -> {link.target}") for link in self.links),
            *((u.unit.name, _sentence(u)) for u in self.units),
            *((f.path, f.title or f"write {f.path}") for f in self.late),
            *((d.task.title, sentence) for d in self.tasks for sentence in d.sentences),
            *((path, f"remove {path}") for path in self.gone),
        )

    def sentences(self) -> tuple[str, ...]:
        """Each change as a line for a person; secrets only as changed."""
        return tuple(sentence for _, sentence in self.described())


def _brought(payload: Payload) -> str:
    if payload.sha256 == UNKNOWN:
        return f"{'fetch' if payload.url else 'send'} {payload.path} (not on this machine yet)"
    how = f"fetch {payload.path} from {payload.url}" if payload.url else f"send {payload.path}"
    there = f", {payload.there / 1e6:.0f} of {payload.packed / 1e6:.0f} MB compressed are there" if payload.there else ""
    because = " because what is there is damaged" if payload.damaged else ""
    return f"{how} ({payload.size / 1e6:.0f} MB{there}){because}"


def _sentence(change: UnitChange) -> str:
    because = f" because of {', '.join(change.causes)}" if change.causes else ""
    rolling = ", rolling, behind its gate" if change.action is Action.RESTART and change.unit.gate else ""
    return f"{change.action} {change.unit.name}{because}{rolling}"


def _differs(file: File, observed: Observed) -> bool:
    entry = observed.entries.get(file.path)
    if file.stale or entry is None or entry.kind != "f":
        return True
    return (entry.sha256, entry.mode, entry.owner, entry.group) != (file.sha256, file.mode, file.owner, file.group)


def _directory_differs(wanted: Directory, observed: Observed) -> bool:
    entry = observed.entries.get(wanted.path)
    if entry is None or entry.kind != "d":
        return True
    return (entry.mode, entry.owner, entry.group) != (wanted.mode, wanted.owner, wanted.group)


def _link_differs(link: Link, observed: Observed) -> bool:
    entry = observed.entries.get(link.path)
    return entry is None or entry.kind != "l" or entry.target != link.target


def _record(unit: Unit, desired: Desired) -> dict[str, str]:
    """Everything for which `unit` must restart, with its content: the record of a running unit's start."""
    files = {f.path: f.sha256 for f in desired.files if unit.name in f.restarts}
    return files | {link.path: link.target for link in desired.links if unit.name in link.restarts}


def _edited(path: str, record: Mapping[str, str], observed: Observed) -> bool:
    """Whether `path` exists with unwanted content: the unit may have read it, by itself or at a restart."""
    entry = observed.entries.get(path)
    if entry is None or path not in record:
        return False
    if entry.kind == "l":
        return entry.target != record[path] or observed.damaged(entry.target)
    return entry.sha256 != record[path]


def _size(path: str, observed: Observed) -> int:
    entry = observed.entries.get(path)
    return entry.size if entry else 0


def _unit_change(unit: Unit, desired: Desired, observed: Observed) -> UnitChange | None:
    state = observed.units.get(unit.name, UnitState())
    record = _record(unit, desired)
    before = observed.started_with.get(unit.name, {})
    changed = {p for p in record.keys() | before.keys() if record.get(p) != before.get(p) or _edited(p, record, observed)}
    causes = tuple(sorted(changed | set(unit.outdated)))
    if not observed.runs(unit.name):
        return UnitChange(unit=unit, action=Action.START, causes=(), record=record)
    if causes:
        action = Action.RELOAD if set(causes) <= set(unit.reloads) else Action.RESTART
        return UnitChange(unit=unit, action=action, causes=causes, record=record)
    if state.enabled != "enabled":
        return UnitChange(unit=unit, action=Action.ENABLE, causes=(), record=record)
    return None


def _due(task: ClusterTask, observed: Observed) -> Due | None:
    lacks = tuple(about for about, value in task.evidence.items() if observed.facts.get(about) != value)
    there = tuple(str(ref) for ref in task.removes if str(ref) in observed.facts)
    return Due(task=task, lacks=lacks, there=there, new=not observed.begun) if lacks or there else None


def all_changes(wanted: Mapping[str, Desired], observed: Observed) -> dict[str, Changes]:
    """The changes of one host, by role, in order. The first role does what several roles want."""
    done: set[Directory | File] = set()
    found = {}
    for role, desired in wanted.items():
        change = changes(desired, observed)
        files = tuple(f for f in change.files if replace(f, restarts=()) not in done)
        directories = tuple(d for d in change.directories if d not in done)
        done |= {replace(f, restarts=()) for f in files} | set(directories)
        found[role] = replace(change, files=files, directories=directories)
    return found


def changes(desired: Desired, observed: Observed) -> Changes:
    """The changes that turn `observed` into `desired`."""
    files = tuple(f for f in desired.files if _differs(f, observed))
    units = tuple(filter(None, (_unit_change(u, desired, observed) for u in desired.units)))
    return Changes(
        packages=tuple(p for p in desired.packages if p not in observed.packages),
        users=tuple(u for u in desired.users if u not in observed.users),
        directories=tuple(d for d in desired.directories if _directory_differs(d, observed)),
        payloads=tuple(
            replace(p, there=_size(p.partial, observed), damaged=observed.damaged(p.path))
            for p in desired.payloads
            if not observed.holds(p.path, p.sha256, p.size)
        ),
        files=files,
        links=tuple(link for link in desired.links if _link_differs(link, observed)),
        units=units,
        late=tuple(f for f in desired.late if _differs(f, observed)),
        tasks=tuple(filter(None, (_due(task, observed) for task in desired.tasks))),
        gone=tuple(path for path in desired.gone if path in observed.entries),
        reload=any(f.path.startswith("/etc/systemd/system/") for f in files)
        or any(observed.units.get(u.name, UnitState()).needs_reload for u in desired.units),
    )
