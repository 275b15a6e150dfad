"""How the cluster's nodes are, asked of any master between one host's restart and the next."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import gevent

from kubewright.errors import Failed
from kubewright.hosts.host import Host
from kubewright.plan.move import UNITS

if TYPE_CHECKING:
    from kubewright.run.run import Run

KUBECTL = "/usr/local/bin/kubectl --kubeconfig=/etc/kubernetes/admin.conf"
ASK = (
    f"{KUBECTL} get nodes --request-timeout=5s -o jsonpath='"
    '{range .items[*]}{.metadata.name}{range .status.conditions[*]} {.type}={.status}{end}{"\\n"}{end}'
    "' 2>/dev/null && echo ."
)
"""A line for each node: its name and its conditions; a dot at the end of a whole answer."""
_PRESSURE = ("MemoryPressure=True", "DiskPressure=True", "PIDPressure=True")
PATIENCE = 30
"""Seconds in which another node may get well again: one condition is seen late, or an apiserver has just restarted."""


def unwell(answer: str) -> dict[str, str] | None:
    """By node that is not Ready or has pressure: what it says. None when the answer is not whole."""
    lines = answer.splitlines()
    if not lines or lines[-1] != ".":
        return None
    return dict(_unwell(lines[:-1]))


def _unwell(lines: list[str]) -> Iterator[tuple[str, str]]:
    for name, *conditions in (line.split() for line in lines if line.strip()):
        wrong = [c.partition("=")[0] for c in conditions if c in _PRESSURE]
        if "Ready=True" not in conditions:
            wrong.append("not Ready")
        if wrong:
            yield name, ", ".join(wrong)


def masters(run: Run) -> Iterator[Host]:
    """Those of this run."""
    return (run.hosts[n.name] for n in run.plan.masters if n.name in run.observed)


class Nodes:
    """What this run's restarts do to the nodes."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._before: dict[str, str] | None = None
        self.restarted: set[str] = set()

    def _ask(self) -> dict[str, str] | None:
        for host in masters(self._run):
            with contextlib.suppress(Failed):
                if (found := unwell(host.shell(ASK))) is not None:
                    return found
        return None

    def gate(self, names: Sequence[str]) -> None:
        """Before something that pods need stops on `names`. Failed when another node is less healthy than when the run
        began, or one that the run restarted is unhealthy. When no master answers, the unit's own gate decides."""
        deadline = time.monotonic() + PATIENCE
        while worse := self._worse(names):
            if time.monotonic() >= deadline:
                raise Failed(
                    f"{', '.join(names)}: not restarted, because other nodes are unhealthy since the last change: {worse}; "
                    "revert the change, or repair the nodes (kubectl describe node), then run the same command again"
                )
            gevent.sleep(2)

    def _moved(self) -> frozenset[str]:
        """The nodes that an earlier run of the same upgrade has moved. One that is unhealthy since then stops this run too:
        otherwise each repetition would break one more. A node whose start is not on record is restarted by this run."""
        move, api = self._run.move, self._run.live.api
        if move is None or move.verb != "upgrade" or api is None:
            return frozenset()
        started = {name for name, host in self._run.observed.items() if UNITS["kubelet"] in host.started_with}
        return frozenset(n.name for n in api.nodes if n.name in started and n.kubernetes == move.target.kubernetes)

    def _worse(self, names: Sequence[str]) -> str:
        now = self._ask()
        if now is None:
            return ""
        if self._before is None:
            self._before = now
        ours = self.restarted | self._moved()
        others = [n for n in sorted(now) if n not in names and (n in ours or n not in self._before)]
        return ", ".join(f"{n} ({now[n]})" for n in others)
