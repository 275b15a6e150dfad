"""What an older plan put on a host, or applied to the cluster, and the new one does not want. Pure.

A host keeps a record of what kubewright has put there. It is added to before anything is put in place and cut to what is
wanted after everything else was done: a run killed in between leaves a longer record, never an unrecorded file. Objects in the
cluster need no record: their marks tell (`cluster_tasks.unwanted`).
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from dataclasses import replace

from kubewright.model.places import STATE
from kubewright.observe.observed import INSTALLED, Observed
from kubewright.plan import cluster_tasks, payloads
from kubewright.plan.context import Context
from kubewright.plan.desired import Desired, File
from kubewright.plan.role import Role, on_every_host

UNIT, FILE, LINK = "unit", "file", "link"


def wanted(everything: Iterable[Desired]) -> frozenset[str]:
    """The record's lines for everything that a host's roles want, `KIND PATH`.

    Without folders, which may hold other files, and payloads, which have a record of their own (payloads.py).
    """
    lines = set()
    for desired in everything:
        lines |= {f"{UNIT} {u.name}" for u in desired.units}
        lines |= {f"{FILE} {f.path}" for f in (*desired.files, *desired.late)}
        lines |= {f"{LINK} {link.path}" for link in desired.links}
    return frozenset(lines)


def obsolete(observed: Observed, lines: frozenset[str]) -> tuple[str, ...]:
    """Recorded and no longer wanted, units first."""
    order = (UNIT, LINK, FILE)
    gone = [line for line in observed.installed if line not in lines]
    return tuple(sorted(gone, key=lambda line: (order.index(line.split()[0]), line)))


def _record(lines: Iterable[str]) -> File:
    """The record as a file."""
    return File(path=INSTALLED, content="".join(f"{line}\n" for line in sorted(lines)).encode(), mode=0o600)


def removal(lines: tuple[str, ...]) -> str:
    """Shell that removes the things in `lines`."""
    commands = []
    for line in lines:
        kind, path = line.split(" ", 1)
        if kind == UNIT:
            commands += [f"systemctl disable -q --now {path} 2>/dev/null || true", f"rm -f {STATE}/started/{path}"]
        else:
            commands.append(f"rm -f {shlex.quote(path)}")
    return "\n".join([*commands, "systemctl daemon-reload", ""])


def _nothing(_context: Context) -> Desired:
    return Desired()


RECORD = Role(name="record", runs_on=on_every_host, desired=_nothing)
LEFTOVERS = Role(name="leftovers", runs_on=on_every_host, desired=_nothing)
"""Steps that depend on all the other roles: see `everything`."""


def everything(roles: Sequence[Role], context: Context) -> dict[str, Desired]:
    """What each of `roles` wants on a host, by the role's name, in order: first the record, last what is removed."""
    parts = {role.name: role.desired(context) for role in roles if role.runs_on(context.node)}
    lines, before = wanted(parts.values()), frozenset(context.observed.installed)
    gone = obsolete(context.observed, lines)
    # Each one separately: a run may have been killed between them.
    first = (None if lines <= before else _record(lines | before), payloads.first_record(parts.values(), context.observed))
    removing = replace(_record(lines), apply=removal(gone), title=f"remove {', '.join(gone)}")
    links = frozenset(line.removeprefix(f"{LINK} ") for line in gone if line.startswith(f"{LINK} "))
    kept = payloads.kept(parts.values(), context.observed, links)
    pruned = cluster_tasks.unwanted(parts.values(), context)
    last = Desired(
        files=(kept.record,) if kept.record else (),
        late=(removing,) if gone else (),
        tasks=(cluster_tasks.removal(pruned, context.plan.local_api),) if pruned else (),
        gone=kept.gone,
    )
    return {RECORD.name: Desired(files=tuple(filter(None, first))), **parts, LEFTOVERS.name: last}
