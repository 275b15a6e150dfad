"""Findings on the hosts' lineage records."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from kubewright.errors import Problem
from kubewright.model.lineage import PATH
from kubewright.observe.live import Live
from kubewright.observe.observed import Observed

_TODO = "find out where the host's disk comes from; if the host belongs here, remove the file: apply writes it again"


def findings(live: Live, observed: Mapping[str, Observed]) -> Iterator[Problem]:
    """On records that can't be read, and on those of another cluster than the one that answers."""
    for name, host in observed.items():
        if host.lineage_fault:
            yield Problem(
                where=name,
                what=f"its record of the cluster can't be read ({PATH}: {host.lineage_fault})",
                allowed="a record that this version of kubewright writes",
                todo="use the version of kubewright that wrote it; if the file is damaged, remove it: apply writes it again",
            )
        elif host.lineage is not None and live.uid and host.lineage.uid != live.uid:
            yield Problem(
                where=name,
                what=f"it has the record of another cluster ({PATH}: the UID of kube-system is {host.lineage.uid})",
                allowed=live.uid,
                todo=_TODO,
            )
