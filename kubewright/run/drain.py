"""A node is drained before its kubelet is replaced by another version, and takes pods again afterwards. Done on a master.

What was cordoned here carries an annotation. It is taken off before the unit's record is written: a run that is killed in
between leaves the restart to be done again, and with it the uncordon.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kubewright.errors import Failed
from kubewright.plan.changes import Action, Changes
from kubewright.plan.rules import RULES, Edit

if TYPE_CHECKING:
    from kubewright.run.run import Run

NOTE = "kubewright.io/cordoned-by"
TRIES = 8
"""Of 40 seconds each: about five minutes."""
_KUBECTL = "/usr/local/bin/kubectl --kubeconfig=/etc/kubernetes/admin.conf"
_FIELDS = (
    "{.metadata.name}",
    "{.status.nodeInfo.kubeletVersion}",
    '{.status.conditions[?(@.type=="Ready")].status}',
    "{.spec.unschedulable}",
    r"{.metadata.annotations.kubewright\.io/cordoned-by}",
)
_ASK = f"{_KUBECTL} get nodes --request-timeout=10s -o jsonpath=" + shlex.quote(
    "{range .items[*]}" + '{"\\t"}'.join(_FIELDS) + '{"\\n"}{end}'
)


@dataclass(frozen=True, kw_only=True)
class _Node:
    version: str
    ready: bool
    cordoned: bool
    ours: bool


def patching(run: Run) -> bool:
    """Whether this run rolls out a later patch release."""
    return any(d.rule is RULES["kubernetes", Edit.PATCH] for d in run.differences)


def empty(run: Run, name: str, changes: Changes) -> bool:
    """Before that host acts. Whether `refill` is due afterwards. Failed when the node can't be drained: it takes pods again."""
    if not _concerned(run, name, changes):
        return False
    found = _nodes(run, name)
    if not found and patching(run):
        raise Failed(f"{name}: not drained: no master answers; see kubewright verify")
    node = found.get(name)
    if node is None or not (node.ours or (node.ready and node.version != run.plan.node(name).release.kubernetes)):
        return False
    if not any(other.ready and not other.cordoned for host, other in found.items() if host != name):
        run.say(f"{name} is not drained: no other node takes pods")
        return node.ours
    if node.ready:
        if node.ours or not node.cordoned:
            _do(run, name, f"{_KUBECTL} annotate --overwrite node {name} {NOTE}={run.session.verb} && {_KUBECTL} cordon {name}")
        _drain(run, name)
    return True


def refill(run: Run, name: str) -> None:
    """After it: uncordon what was cordoned here. Failed when no master does that."""
    note = _FIELDS[-1]
    _do(
        run,
        name,
        f"note=$({_KUBECTL} get node {name} -o jsonpath={shlex.quote(note)}) && "
        f'if [ "$note" ]; then {_KUBECTL} uncordon {name} && {_KUBECTL} annotate node {name} {NOTE}-; fi',
    )


def _concerned(run: Run, name: str, changes: Changes) -> bool:
    known = run.live.api is not None and any(node.name == name for node in run.live.api.nodes)
    return known and any(c.unit.drained and c.action in (Action.START, Action.RESTART) for c in changes.units)


def _said(run: Run, name: str, script: str) -> Iterator[str]:
    """What masters print, one after the other; the node's own comes last."""
    for master in sorted(run.plan.masters, key=lambda n: n.name == name):
        if master.name in run.observed and (said := run.hosts[master.name].shell(script)):
            yield said


def _nodes(run: Run, name: str) -> dict[str, _Node]:
    lines = [line.split("\t") for line in next(_said(run, name, _ASK), "").splitlines()]
    return {
        host: _Node(version=version.removeprefix("v"), ready=ready == "True", cordoned=cordoned == "true", ours=bool(ours))
        for host, version, ready, cordoned, ours in lines
    }


def _do(run: Run, name: str, script: str) -> None:
    if not next(_said(run, name, f"{{ {script}; }} >&2 && echo done"), ""):
        raise Failed(f"{name}: no master cordons or uncordons its node; see kubewright verify, then run the same command again")


def _drain(run: Run, name: str) -> None:
    run.say(f"draining {name}")
    options = "--ignore-daemonsets --delete-emptydir-data --timeout=40s"
    said = ""
    for _ in range(TRIES):
        said = next(_said(run, name, f"{_KUBECTL} drain {name} {options} 2>&1 && echo drained || echo not drained"), "")
        if said.endswith("\ndrained\n"):
            return
        if "cannot delete" in said:  # waiting does not help
            break
    refill(run, name)
    why = [line for line in said.splitlines() if "error" in line.lower() or "cannot" in line]
    raise Failed(
        f"{name}: its node can't be drained ({'; '.join(dict.fromkeys(why)) or 'no answer'}); it takes pods as before; "
        "delete pods that no controller makes again, or let their PodDisruptionBudget allow an eviction, "
        "then run the same command again"
    )
