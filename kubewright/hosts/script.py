"""changes -> the shell that carries them out on the host, and the small files that it needs. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from kubewright.model.places import STATE
from kubewright.plan.changes import Action, Changes, Due, UnitChange
from kubewright.plan.desired import Directory, File
from kubewright.plan.payloads import name_and_version
from kubewright.releases.systems import INSTALL, System

Content = Callable[[File], bytes]
"""Gives a file's bytes: its own, or out of the private store."""


@dataclass(frozen=True, kw_only=True)
class Staged:
    """The files of one step, by name; the host runs `act.sh`."""

    files: dict[str, bytes]


@cache
def _prelude() -> str:
    folder = Path(__file__).parent
    return (folder / "proxy.sh").read_text() + (folder / "act.sh").read_text()


def _packages(packages: tuple[str, ...], system: System) -> list[str]:
    if not packages:
        return []
    return ["proxy_on", INSTALL[system.family].format(packages=" ".join(packages)), "proxy_off"]


def _user(name: str) -> str:
    return f"id -u {name} >/dev/null 2>&1 || useradd --system --user-group --no-create-home --shell /usr/sbin/nologin {name}"


def _directory(wanted: Directory) -> str:
    return f"install -d -o {wanted.owner} -g {wanted.group} -m {wanted.mode:04o} {shlex.quote(wanted.path)}"


def _place(file: File, staged: str) -> str:
    return f"place {staged} {shlex.quote(file.path)} {file.owner} {file.group} {file.mode:04o}"


def _unit(change: UnitChange, number: int, staged: dict[str, bytes], *, tried: bool) -> list[str]:
    unit = change.unit
    lines = [f"systemctl enable -q {unit.name}"]
    if change.action is Action.RESTART and unit.before_stop:
        staged[f"before.{number}"] = unit.before_stop.encode()
        lines.append(f"sh -eu before.{number} >&2")
    if change.action is not Action.ENABLE:
        lines.append(f"systemctl reset-failed -q {unit.name} 2>/dev/null || true")
        # Recorded only once the unit is ready: after a failed restart, the next run restarts it, even to return to the old
        # configuration.
        lines.append(f"rm -f {STATE}/started/{unit.name}")
        if change.action is not Action.RELOAD:
            lines.append(f"unstick {unit.name}")
        # A notifying unit that never becomes ready would block systemctl, and so the host's lock, without end.
        lines.append(f"timeout {unit.timeout} systemctl {change.action} {unit.name} || failed {unit.name}")
    if unit.ready:
        staged[f"ready.{number}"] = unit.ready.encode()
        lines.append(f"wait_ready {unit.name} {unit.timeout} ready.{number}")
        if unit.trial and tried:
            lines.append(f"stay_ready {unit.name} {unit.trial.seconds} ready.{number}")
    return lines


def _record(change: UnitChange, number: int, staged: dict[str, bytes]) -> str:
    # Written last: after a kill before this line, the next run restarts the unit again.
    staged[f"started.{number}"] = "".join(f"{sha} {path}\n" for path, sha in sorted(change.record.items())).encode()
    return f"place started.{number} {STATE}/started/{change.unit.name} root root 0600"


def records_of(changes: Changes) -> Staged:
    """The records of started units, which `stage` leaves out without `remember`."""
    staged: dict[str, bytes] = {}
    lines = [_prelude(), *(_record(change, number, staged) for number, change in enumerate(changes.units))]
    return Staged(files={"act.sh": "\n".join([*lines, ""]).encode(), **staged})


def _gates(units: tuple[UnitChange, ...], staged: dict[str, bytes]) -> list[str]:
    lines = []
    for number, change in enumerate(units):
        if change.action is Action.RESTART and change.unit.gate:
            staged[f"gate.{number}"] = change.unit.gate.encode()
            lines.append(f"sh -u gate.{number} >&2 || {{ say 'refused: {change.unit.name} is not restarted'; exit 75; }}")
    return lines


def _late(file: File, number: int, staged: dict[str, bytes]) -> list[str]:
    staged[f"apply.{number}"] = file.apply.encode()
    return [
        f"export here new=$here/late.{number} path={shlex.quote(file.path)}; sh -eu apply.{number}",
        _place(file, f"late.{number}"),
    ]


def _task(due: Due, number: int, staged: dict[str, bytes]) -> str:
    staged[f"task.{number}"], staged[f"do.{number}"] = due.task.content, due.task.apply.encode()
    return f"export here new=$here/task.{number}; sh -eu do.{number}"


def stage(
    changes: Changes, system: System, content: Content, trials: frozenset[str] = frozenset(), *, remember: bool = True
) -> Staged:
    """Everything in `changes` except its payloads, which are streamed separately. `trials`: the units that are tried on this
    host first.

    Order: the gates first (a refusal leaves the host as it was), then packages, users, folders, files, links, units,
    tasks that need the running units, and the removal of what is no longer needed. Without `remember`, `records_of` is to
    follow.
    """
    staged: dict[str, bytes] = {}
    lines = [_prelude(), *_gates(changes.units, staged), *_packages(changes.packages, system)]
    lines += [_user(user) for user in changes.users]
    lines += [_directory(directory) for directory in changes.directories]
    for number, file in enumerate(changes.files):
        staged[f"file.{number}"] = content(file)
        lines.append(_place(file, f"file.{number}"))
    lines += [f"link {shlex.quote(link.path)} {shlex.quote(link.target)}" for link in changes.links]
    if changes.reload:
        lines.append("systemctl daemon-reload")
    for number, change in enumerate(changes.units):
        lines += _unit(change, number, staged, tried=change.unit.name in trials)
        lines += [_record(change, number, staged)] if remember else []
    for number, file in enumerate(changes.late):
        staged[f"late.{number}"] = content(file)
        lines += _late(file, number, staged)
    lines += [_task(due, number, staged) for number, due in enumerate(changes.tasks)]
    lines += ["drop {} {}".format(*name_and_version(folder)) for folder in changes.gone]
    return Staged(files={"act.sh": "\n".join([*lines, ""]).encode(), **staged})
