"""etcd's authorisation: each client certificate's common name is a user with a role.

It also writes flannel's network. Authentication is enabled last, so that a killed run can simply be repeated. The
apiserver's user needs
the root role because Compact does [tried: apiserver 1.37.1 on etcd 3.7.3]. One member does this work.
"""

from __future__ import annotations

import json

from kubewright.model.cluster import ETCD_CLIENT_PORT, VXLAN_PORT, Plan
from kubewright.model.etcd_rights import FLANNEL_PREFIX, ROOT, role_of, users_of, way_of
from kubewright.observe import facts
from kubewright.plan.context import Context, render
from kubewright.plan.desired import ClusterTask, Desired
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


def _evidence(plan: Plan, config: str) -> dict[str, str]:
    wanted = users_of(plan)
    users = {facts.of_user(user, role_of(user)): "granted" for user in wanted}
    keys = {facts.of_keys(role_of(user), prefix): way_of(user) for user, prefix in wanted.items() if prefix}
    return {**users, **keys, facts.NETWORK: config, facts.AUTHENTICATION: "on"}


def desired(context: Context) -> Desired:
    plan = context.plan
    if not context.acts_for_etcd:
        return Desired()
    # flannel's configuration is for the whole cluster, but each host has its own packet filter.
    config = network(plan, nftables=plan.proxy_mode == "nftables" or context.together.needs_nftables)
    users = users_of(plan)
    script = render(
        "etcd_users/set.sh.j2",
        port=ETCD_CLIENT_PORT,
        roles=sorted({ROOT, *map(role_of, users)}),
        users=[(user, role_of(user), prefix, way_of(user)) for user, prefix in users.items()],
        key=f"{FLANNEL_PREFIX}/config",
        config=config,
    )
    task = ClusterTask(
        title="create etcd's users and roles, write flannel's network, switch authentication on",
        content=script,
        apply='sh -eu "$new" >/dev/null',
        evidence=_evidence(plan, config),
    )
    return Desired(tasks=(task,))


ROLE = Role(name="etcd_users", runs_on=on_etcd, after=("etcd",), desired=desired)
