"""`kubewright reset`: a snapshot of etcd first, then everything that was installed is removed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import gevent

from kubewright.errors import Failed
from kubewright.model.cluster import Plan
from kubewright.plan import places
from kubewright.plan.context import render
from kubewright.plan.role import Role
from kubewright.run import lineage_copy
from kubewright.run import snapshot as snapshots
from kubewright.run.connection import everyone
from kubewright.run.events import Event
from kubewright.run.session import Session
from kubewright.spec import load

_NO_SNAPSHOT = "nothing was removed; repair etcd, or give up its data with --no-snapshot"
STAYS = (
    "operating system packages",
    "the user etcd",
    "loaded kernel modules and sysctl values, until the next boot",
    "the authorities and keys beside the inventory (secrets/, certificates.json): a new apply uses them",
)
"""What a reset does not remove."""

# All are cordoned before any is drained: a pod that is put off one goes to no other.
_DRAIN = """k="timeout 90 /usr/local/bin/kubectl --kubeconfig=/etc/kubernetes/admin.conf"
nodes=$($k get nodes -o name) && $k cordon $nodes &&
$k drain $nodes --ignore-daemonsets --delete-emptydir-data --force --disable-eviction --grace-period=20 --timeout=60s
"""


def reset(inventory: Path, roles: tuple[Role, ...], notify: Callable[[Event], None], *, snapshot: bool) -> Path | None:
    """Empty the hosts. Where the snapshot lies, None when no host had etcd's data or `snapshot` is off.

    Failed when the snapshot can't be taken: nothing was removed then. HostsUnfit when a host does not answer.
    """
    session = Session(inventory=inventory, spec=load(inventory), roles=roles, notify=notify, verb="reset")
    with everyone(session):
        session.observe_all()
        session.take_lock()
        session.begin(on_masters=False)  # the masters' own journal goes with everything else
        saved = snapshots.take(session, _NO_SNAPSHOT) if snapshot else None
        _drain(session)
        _wipe(session)
        lineage_copy.remove(inventory)
        return saved


def wipe_script(plan: Plan, roles: Sequence[Role]) -> str:
    """Shell that empties a host, run as root. When it was stopped, it can be run again."""
    return render(
        "reset/wipe.sh.j2",
        runtime=plan.runtime,
        pods=plan.pods,
        gateways=[str(node.address) for node in plan.kubelets],
        mounts=("/var/lib/kubelet", *plan.runtime.state, "/run/netns"),
        emptied=places.emptied(roles),
        shared=places.left_to_others(roles),
    ).decode()


def _drain(session: Session) -> None:
    for node in session.plan.masters:
        if session.observed[node.name].runs("kube-apiserver.service"):
            session.say("draining the nodes")
            session.remotes[node.name].run(_DRAIN, timeout=120)
            return


def _wipe(session: Session) -> None:
    """All hosts at once. Failed, naming each host on which something is left."""
    script = wipe_script(session.plan, session.roles)

    def wipe(name: str) -> str:
        try:
            answer = session.remotes[name].run(script, timeout=300)
        except Failed as error:
            return str(error)
        if answer.status != 0:
            return f"{name}: not everything could be removed: {answer.stderr.strip()}; run the same command again"
        session.notify(Event(kind="changed", step="wipe", host=name, text="nothing of it is left"))
        return ""

    jobs = [gevent.spawn(wipe, name) for name in session.hosts]
    gevent.joinall(jobs, raise_error=True)
    if left := [job.value for job in jobs if job.value]:
        raise Failed("\n".join(left))
