"""`kubewright reset`: a snapshot of etcd first, then everything that was installed goes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import gevent

from kubewright.errors import Failed, HostsUnfit
from kubewright.hosts.lock import Lock, holder
from kubewright.plan.role import Role
from kubewright.run import lineage_copy
from kubewright.run import snapshot as snapshots
from kubewright.run.connection import everyone, execute
from kubewright.run.journal import Journal, new_id
from kubewright.run.run import Event, Run
from kubewright.run.steps import Step
from kubewright.spec import load

_NO_SNAPSHOT = "nothing was removed; repair etcd, or give up its data with --no-snapshot"
STAYS = (
    "operating system packages",
    "the user etcd",
    "loaded kernel modules and sysctl values, until the next boot",
    "the authorities and keys beside the inventory (secrets/, certificates.json): a new apply uses them",
)
"""What a reset does not take away."""

# All are cordoned before any is drained: a pod that is put off one goes to no other.
_DRAIN = """k="timeout 90 /usr/local/bin/kubectl --kubeconfig=/etc/kubernetes/admin.conf"
nodes=$($k get nodes -o name) && $k cordon $nodes &&
$k drain $nodes --ignore-daemonsets --delete-emptydir-data --force --disable-eviction --grace-period=20 --timeout=60s
"""


def reset(inventory: Path, roles: tuple[Role, ...], notify: Callable[[Event], None], *, snapshot: bool) -> Path | None:
    """Empty the hosts. Where the snapshot lies, None when no host had etcd's data or `snapshot` is off.

    Failed when the snapshot can't be taken: nothing was removed then. HostsUnfit when a host does not answer.
    """
    run = Run(inventory=inventory, spec=load(inventory), roles=roles, notify=notify, verb="reset")
    with everyone(run) as state:
        gevent.joinall([gevent.spawn(run.observe, name) for name in run.hosts], raise_error=True)
        if run.unreachable:
            raise HostsUnfit(run.unreachable)
        mine = holder("reset", new_id())
        masters = [run.hosts[n.name] for n in run.plan.masters]
        lock = Lock(masters, mine)
        lock.acquire()
        journal = Journal(inventory, mine, [])  # the masters' own goes with everything else
        journal.begin()
        try:
            saved = snapshots.take(run, _NO_SNAPSHOT) if snapshot else None
            _drain(run)
            execute(run, state, (Step(title="wipe", run=_wipe),))
        finally:
            journal.end("failed" if run.failure else "done", error=str(run.failure or ""))
            lock.release()
        if run.failure:
            raise run.failure
        lineage_copy.remove(inventory)
        return saved


def _drain(run: Run) -> None:
    for node in run.plan.masters:
        if run.observed[node.name].runs("kube-apiserver.service"):
            run.say("draining the nodes")
            run.remotes[node.name].run(_DRAIN, timeout=120)
            return


def _wipe(run: Run, name: str) -> None:
    answer = run.remotes[name].run(Path(__file__).with_name("wipe.sh").read_text(), timeout=300)
    if answer.status != 0:
        raise Failed(f"{name}: not everything could be removed: {answer.stderr.strip()}; run the same command again")
    run.notify(Event(kind="changed", step="wipe", host=name, text="nothing of it is left"))
