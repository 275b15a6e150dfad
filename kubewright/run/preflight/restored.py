"""Findings on etcd hosts after a restore: none may have data of an earlier generation, and no restore may be left half done."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from kubewright.errors import Problem
from kubewright.model.lineage import FILE, Lineage, generation_of
from kubewright.observe.observed import Observed
from kubewright.run.preflight.cluster import Cluster

RESTORE = "restore"
"""The first word of the operation in the record of a restore that has not ended."""


def begun(record: Lineage) -> bool:
    """Whether it is of a restore, which may have ended since."""
    return record.operation.startswith(f"{RESTORE} ")


def ended(record: Lineage, observed: Iterable[Observed]) -> bool:
    """Whether hosts have the record of that restore, or of a later one, as whole: its end, or an apply after it, wrote it."""
    known = (host.lineage for host in observed if host.lineage is not None and not host.lineage.operation)
    return any(generation_of(each.etcd_token) >= generation_of(record.etcd_token) for each in known)


def findings(cluster: Cluster, wanted: Lineage, copy: Lineage | None = None) -> Iterator[Problem]:
    """`wanted`: the record of this run, which has the cluster's token. `copy`: the record beside the inventory."""
    now = generation_of(wanted.etcd_token)
    # Where all members have their data from before, nothing was replaced: they may go on.
    empty = [node.name for node, host in cluster.hosts if node.is_etcd and not host.etcd_data]
    if empty and copy is not None and begun(copy) and not ended(copy, cluster.observed.values()):
        yield Problem(
            where=FILE,
            what=f"a restore was begun and did not end, and {', '.join(empty)} has no data (the cluster is to be "
            f"{copy.etcd_token})",
            allowed="a restore that ended: else a member would begin without the backup's data",
            todo="run the same restore again: it resumes from what is done",
        )
    for node, host in cluster.hosts:
        if not node.is_etcd or not host.etcd_data:
            continue
        if (restored := generation_of(restored_token(host))) > now:
            yield Problem(
                where=node.name,
                what=f"a restore was begun and did not end (its etcd data is of {restored_token(host)}, "
                f"the cluster's record says {wanted.etcd_token})",
                allowed="a restore that ended",
                todo="run the same restore again: it resumes from what is done",
            )
        elif now > 1 and max(restored, generation_of(host.etcd_token)) < now:
            yield Problem(
                where=node.name,
                what=f"its etcd data is older than the restore of the cluster ({host.etcd_token or 'no token'}, "
                f"the cluster is {wanted.etcd_token} now)",
                allowed="a member of the restored cluster",
                todo="it can't rejoin; on the host: systemctl stop etcd, then move /var/lib/etcd/member away; "
                "then replace the member: docs/runbooks/etcd.md",
            )


def restored_token(host: Observed) -> str:
    """The token in the host's record of a restore; empty where there is none."""
    return host.etcd_restored.partition(" ")[0]
