"""A node is drained before its kubelet is replaced by another version, and takes pods again afterwards. Done on a master.

What was cordoned here carries an annotation. It is taken off before the unit's record is written: a run that is killed in
between leaves the restart to be done again, and with it the uncordon.
"""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kubewright.errors import Failed
from kubewright.observe import facts
from kubewright.plan.changes import Action, Changes
from kubewright.plan.move import EVICTION_SECONDS
from kubewright.run.nodes import ASK, unwell

if TYPE_CHECKING:
    from kubewright.run.run import Run
    from kubewright.run.session import Session

NOTE = facts.CORDONED
TRY = 40
"""Seconds of one try; kubectl then says what it waits for, and another master may be asked."""
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


def held(run: Run) -> frozenset[str]:
    """The nodes that an interrupted run has left cordoned. They go first: so no more are empty at once than are allowed."""
    known = {node.name for node in run.plan.kubelets if node.name in run.observed}
    return frozenset(node.name for node in (run.live.api.nodes if run.live.api else ()) if node.held and node.name in known)


def empty(run: Run, name: str, changes: Changes) -> bool:
    """Before that host acts. Whether `refill` is due afterwards. Failed when the node can't be drained: it takes pods again."""
    if not _concerned(run, name, changes):
        return False
    found = _nodes(run, name)
    if not found and run.move is not None:
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
        _drain(run, name, run.move.eviction_seconds if run.move else EVICTION_SECONDS)
    return True


def refill(run: Run | Session, name: str) -> None:
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


def _said(run: Run | Session, name: str, script: str) -> Iterator[str]:
    """What masters print, one after the other; the node's own comes last."""
    for master in sorted(run.plan.masters, key=lambda n: n.name == name):
        if master.name in run.observed and (said := run.hosts[master.name].shell(script)):
            yield said


def _nodes(run: Run | Session, name: str) -> dict[str, _Node]:
    lines = [line.split("\t") for line in next(_said(run, name, _ASK), "").splitlines()]
    return {
        host: _Node(version=version.removeprefix("v"), ready=ready == "True", cordoned=cordoned == "true", ours=bool(ours))
        for host, version, ready, cordoned, ours in lines
    }


def _do(run: Run | Session, name: str, script: str) -> None:
    if not next(_said(run, name, f"{{ {script}; }} >&2 && echo done"), ""):
        raise Failed(f"{name}: no master cordons or uncordons its node; see kubewright verify, then run the same command again")


def evacuate(session: Session, *names: str, seconds: int = EVICTION_SECONDS) -> None:
    """Cordon those nodes, then drain one after the other, at most `seconds` long each. Failed when one can't be drained, or
    when no node would take their pods: all of them take pods as before."""
    found = _nodes(session, names[0])
    if missing := [name for name in names if name not in found]:
        raise Failed(
            f"{', '.join(missing)}: not drained: no master shows its node; see kubewright verify, then run the same command again"
        )
    if not any(node.ready and not node.cordoned for name, node in found.items() if name not in names):
        raise Failed(
            f"{', '.join(names)}: not drained: no other node takes pods; add one, or let one take pods again: "
            "kubewright node recover"
        )
    try:
        # First all: pods that leave one of them go to none of the others.
        for name in names:
            if found[name].ours or not found[name].cordoned:
                note = f"{_KUBECTL} annotate --overwrite node {name} {NOTE}={session.verb.replace(' ', '-')}"
                _do(session, name, f"{note} && {_KUBECTL} cordon {name}")
        for name in names:
            _drain(session, name, seconds)
    except Failed:
        for name in names:
            with contextlib.suppress(Failed):
                refill(session, name)
        raise


def keep_empty(session: Session, name: str) -> None:
    """The node stays cordoned, whatever apply does to it later."""
    _do(session, name, f"{_KUBECTL} cordon {name} && {_KUBECTL} annotate node {name} {NOTE}-")


def use_again(session: Session, name: str) -> None:
    """Uncordon the node, whoever cordoned it."""
    _do(session, name, f"{_KUBECTL} uncordon {name} && {_KUBECTL} annotate node {name} {NOTE}-")


def unwell_now(session: Session, name: str) -> list[str]:
    """What is wrong with that node, as a master sees it."""
    answer = next(_said(session, name, ASK), "")
    found = unwell(answer)
    if found is None:
        return ["no master says how it is"]
    return [found[name]] if name in found else []


def _drain(run: Run | Session, name: str, seconds: int) -> None:
    run.say(f"draining {name}")
    options, said = "--ignore-daemonsets --delete-emptydir-data", ""
    for left in _tries(seconds):
        script = f"{_KUBECTL} drain {name} {options} --timeout={left}s 2>&1 && echo drained || echo not drained"
        said = next(_said(run, name, script), "")
        if said.endswith("\ndrained\n"):
            return
        if "cannot delete" in said:  # waiting does not help
            break
    refill(run, name)
    why = [line for line in said.splitlines() if "error" in line.lower() or "cannot" in line]
    raise Failed(
        f"{name}: its node can't be drained within {seconds} s ({'; '.join(dict.fromkeys(why)) or 'no answer'}); "
        "it takes pods as before; delete pods that no controller makes again, or let their PodDisruptionBudget allow "
        "an eviction, then run the same command again; --pod-eviction-timeout gives pods more time"
    )


def _tries(seconds: int) -> Iterator[int]:
    """The seconds of each try."""
    while seconds > 0:
        yield min(TRY, seconds)
        seconds -= TRY
