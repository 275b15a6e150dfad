"""Snapshots of etcd on its own hosts, by a systemd timer. Off unless `backup.snapshots` of cluster.yaml says otherwise."""

from __future__ import annotations

from kubewright.model.cluster import ETCD_CLIENT_PORT, Node
from kubewright.plan.context import Context
from kubewright.plan.desired import Desired, Directory, Unit
from kubewright.plan.role import Folder, Role
from roles.snapshots.checks import CHECKS
from roles.snapshots.places import FOLDER

TIMER, SERVICE = "kubewright-snapshot.timer", "/etc/systemd/system/kubewright-snapshot.service"
SCRIPT = "/etc/etcd/snapshot.sh"


def desired(context: Context) -> Desired:
    node = context.node
    script = context.config(
        SCRIPT,
        "snapshots/snapshot.sh.j2",
        restarts=(),
        mode=0o600,
        folder=FOLDER,
        keep=node.snapshots_kept,
        data="/var/lib/etcd/member/snap/db",
        etcdctl=f"/usr/local/bin/etcdctl --endpoints=https://127.0.0.1:{ETCD_CLIENT_PORT} --cacert=/etc/etcd/pki/ca.crt "
        "--cert=/etc/etcd/pki/root.crt --key=/etc/etcd/pki/root.key",
        etcdutl="/usr/local/bin/etcdutl",
    )
    return Desired(
        directories=(Directory(path=FOLDER, mode=0o700),),
        files=(
            script,
            context.config(SERVICE, "snapshots/kubewright-snapshot.service.j2", restarts=(), mode=0o600, script=SCRIPT),
            context.unit_file(TIMER, "snapshots/kubewright-snapshot.timer.j2", calendar=node.snapshots),
        ),
        units=(Unit(name=TIMER, ready=f"systemctl is-active -q {TIMER}"),),
    )


def _keeps_snapshots(node: Node) -> bool:
    return bool(node.snapshots)


ROLE = Role(
    name="snapshots",
    runs_on=_keeps_snapshots,
    after=("etcd",),
    units=(TIMER,),
    folders=(Folder(path=FOLDER, holds="data"),),
    paths=(SERVICE,),
    desired=desired,
    checks=CHECKS,
)
