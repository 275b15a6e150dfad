"""The rights in etcd of each certificate of etcd's CA: for the users in etcd, and for `verify --tls`."""

from __future__ import annotations

from kubewright.model.certificates import ROWS
from kubewright.model.cluster import Plan

FLANNEL_PREFIX = "/coreos.com/network"
SKYDNS_PREFIX = "/skydns"
"""SkyDNS' records: the names of the cluster, and those that `kubewright dns add` keeps."""

EVERYTHING, NOTHING = "", None
RIGHTS: dict[str, str | None] = {
    "etcd-root": EVERYTHING,
    # The root role, because Compact needs it [tried: apiserver 1.37.1 on etcd 3.7.3].
    "apiserver-etcd-client": EVERYTHING,
    "flannel": f"{FLANNEL_PREFIX}/",
    "coredns-etcd": f"{SKYDNS_PREFIX}/",
    "kube2sky-etcd": f"{SKYDNS_PREFIX}/",
    "etcd-healthcheck-client": NOTHING,
    "etcd-server": NOTHING,
    "etcd-peer": NOTHING,
}
"""By row of kubewright/model/certificates.py: a prefix of keys, everything, or nothing (it is no user of etcd's at all)."""

READERS = frozenset({"coredns-etcd"})
"""The rows that may only read their prefix; the others may also write it."""

USERS = {ROWS[row].common_name: right for row, right in RIGHTS.items() if right is not NOTHING}
"""etcd's users, by the common name that makes a certificate one of them, with their right. Some have no certificate in a
cluster: see `users_of`."""
_READERS = {ROWS[row].common_name for row in READERS}
ROOT = "root"
"""etcd's role that may do everything."""


def role_of(user: str) -> str:
    """The role that gives a user its right: its own, or root's."""
    return ROOT if USERS[user] == EVERYTHING else user


def way_of(user: str) -> str:
    """What a user with a prefix may do there, in etcd's words: `read` or `readwrite`."""
    return "read" if user in _READERS else "readwrite"


def users_of(plan: Plan) -> dict[str, str]:
    """The users of USERS that have a certificate in this cluster."""
    names = {row.common_name for row in ROWS.values() if any(map(row.on, plan.nodes))}
    return {user: right for user, right in USERS.items() if user in names}
