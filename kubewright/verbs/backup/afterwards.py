"""What a restore can't end by itself and people must know: keys on hosts that are no more, and rights that are back. Pure."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence

from kubewright.model.lineage import Lineage
from kubewright.observe.observed import Observed
from kubewright.plan import membership
from kubewright.verbs.users.record import Issued


def left_behind(record: Lineage | None, observed: Mapping[str, Observed]) -> Iterator[str]:
    """Lines about the hosts of `record` that this cluster does not have: lost, rebuilt, or no longer in cluster.yaml."""
    here = {host.machine_id for host in observed.values()}
    gone = [host for machine, host in sorted(record.hosts.items()) if machine not in here] if record else []
    if not gone:
        return
    names = ", ".join(f"{host.name} ({host.address})" for host in gone)
    roles = {"node" if role == "worker" else role for host in gone for role in host.roles}
    yield f"of the cluster before, and not here as they were: {names}; keep them and their disks off, or empty them"
    yield from membership.held(frozenset(roles), wiped=False)[1:]


def revived(issued: Sequence[Issued], taken: str) -> Iterator[str]:
    """Lines about the users who were revoked after the backup. `taken`: RFC 3339."""
    then = dt.datetime.fromisoformat(taken)
    if names := sorted({one.name for one in issued if one.revoked and dt.datetime.fromisoformat(one.revoked) >= then}):
        commands = "; ".join(f"kubewright user revoke {name} -i INVENTORY" for name in names)
        yield f"revoked after the backup, and let in again by it: {', '.join(names)}; revoke them again: {commands}"
