"""The bindings that a cluster of this PKI needs before its first administrator can do anything.

Only system:masters may create them, so they are applied with a certificate of that group that lives for minutes and is
left nowhere.
"""

from __future__ import annotations

from kubewright.plan.context import Context, render
from kubewright.plan.desired import Desired, Directory, File
from kubewright.plan.role import Role, on_masters
from pki.table import ADMINS


def desired(context: Context) -> Desired:
    if context.node != context.plan.first_master:
        return Desired()
    manifest = File(
        path="/etc/kubernetes/addons/rbac.yaml",
        content=render("rbac/rbac.yaml.j2", admins=ADMINS),
        apply=(
            f"/usr/local/bin/kubectl --server={context.plan.local_api} --certificate-authority=/etc/kubernetes/pki/ca.crt "
            '--client-certificate="$here/bootstrap.crt" --client-key="$here/bootstrap.key" apply -f "$new" >/dev/null'
        ),
        bootstrap=True,
        title=f"bind {ADMINS} to cluster-admin",
    )
    return Desired(directories=(Directory(path="/etc/kubernetes/addons"),), late=(manifest,))


ROLE = Role(name="rbac", runs_on=on_masters, after=("apiserver",), desired=desired)
