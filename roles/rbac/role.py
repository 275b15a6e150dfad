"""The bindings that a cluster of this PKI needs before its first administrator can do anything.

Only system:masters may create them, and no certificate is ever of that group. Who holds the front proxy's certificate may
name any user and group, and a master holds it: the binding is made in that way, whoever signs certificates.
"""

from __future__ import annotations

from kubewright.plan.context import Context, render
from kubewright.plan.desired import Desired, Directory, File
from kubewright.plan.role import Role, on_masters
from pki.table import ADMINS

_PKI = "/etc/kubernetes/pki"
_BINDINGS = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings"


def desired(context: Context) -> Desired:
    if context.node != context.plan.first_master:
        return Desired()
    manifest = File(
        path="/etc/kubernetes/addons/rbac.yaml",
        content=render("rbac/rbac.yaml.j2", admins=ADMINS),
        # Server-side apply: creates it or brings it to this, and says whose fields they are.
        apply=(
            f"curl -fsS -m 30 --cacert {_PKI}/ca.crt --cert {_PKI}/front-proxy-client.crt --key {_PKI}/front-proxy-client.key "
            "-H 'X-Remote-User: kubewright' -H 'X-Remote-Group: system:masters' "
            "-H 'Content-Type: application/apply-patch+yaml' -X PATCH --data-binary @\"$new\" "
            f"'{context.plan.local_api}{_BINDINGS}/{ADMINS}?fieldManager=kubewright&force=true' >/dev/null"
        ),
        title=f"bind {ADMINS} to cluster-admin",
    )
    return Desired(directories=(Directory(path="/etc/kubernetes/addons"),), late=(manifest,))


ROLE = Role(name="rbac", runs_on=on_masters, after=("apiserver",), desired=desired)
