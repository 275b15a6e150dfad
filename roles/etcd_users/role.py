"""etcd's authorisation: each client certificate's common name is a user with a role, and flannel's network is written.

Authentication is switched on last, so that a run killed before that is simply run again. The apiserver's user needs
the root role because Compact does [tried: apiserver 1.37.1 on etcd 3.7.3]. One member, the first, carries it out.
"""

from __future__ import annotations

import json

from kubewright.plan.context import Context
from kubewright.plan.desired import Desired, File
from kubewright.plan.etcd_rights import FLANNEL_PREFIX
from kubewright.plan.model import ETCD_CLIENT_PORT, VXLAN_PORT, Plan
from kubewright.plan.role import Role, on_etcd


def network(plan: Plan, *, nftables: bool) -> str:
    """flannel's configuration, the value of <prefix>/config."""
    backend: dict[str, object] = {"Type": plan.backend}
    if plan.backend == "vxlan":
        backend |= {"Port": VXLAN_PORT}
    return json.dumps(
        {
            "Network": str(plan.pods),
            "SubnetLen": plan.pod_prefix_length,
            "EnableNFTables": nftables,
            "Backend": backend,
        }
    )


def _script(config: str) -> str:
    return f"""
export ETCDCTL_ENDPOINTS=https://127.0.0.1:{ETCD_CLIENT_PORT} ETCDCTL_CACERT=/etc/etcd/pki/ca.crt
export ETCDCTL_CERT=/etc/etcd/pki/root.crt ETCDCTL_KEY=/etc/etcd/pki/root.key
users=$(etcdctl user list) roles=$(etcdctl role list)
has() {{ printf '%s\\n' "$1" | grep -qx "$2"; }}
for user in root kube-apiserver-etcd-client flannel; do
  has "$users" $user || etcdctl user add $user --no-password
done
has "$roles" root || etcdctl role add root
has "$roles" flannel || etcdctl role add flannel
etcdctl role grant-permission flannel --prefix=true readwrite {FLANNEL_PREFIX}/
etcdctl user grant-role root root
etcdctl user grant-role kube-apiserver-etcd-client root
etcdctl user grant-role flannel flannel
etcdctl put {FLANNEL_PREFIX}/config '{config}'
etcdctl auth enable
"""


def desired(context: Context) -> Desired:
    plan = context.plan
    if context.node != plan.first_member:
        return Desired()
    # flannel's configuration is the whole cluster's: it follows the mode of the host that writes it.
    script = _script(network(plan, nftables=context.proxy_mode == "nftables"))
    record = File(
        path="/etc/etcd/users.sh",
        content=script.encode(),
        mode=0o600,
        apply='sh -eu "$new" >/dev/null',
        title="create etcd's users and roles, write flannel's network, switch authentication on",
    )
    return Desired(late=(record,))


ROLE = Role(name="etcd_users", runs_on=on_etcd, after=("etcd",), desired=desired)
