"""The rights in etcd of each certificate of etcd's CA: for the users in etcd, and for `verify --tls`."""

from __future__ import annotations

from kubewright.model.certificates import ROWS

FLANNEL_PREFIX = "/coreos.com/network"

EVERYTHING, NOTHING = "", None
RIGHTS: dict[str, str | None] = {
    "etcd-root": EVERYTHING,
    # The root role, because Compact needs it [tried: apiserver 1.37.1 on etcd 3.7.3].
    "apiserver-etcd-client": EVERYTHING,
    "flannel": f"{FLANNEL_PREFIX}/",
    "etcd-healthcheck-client": NOTHING,
    "etcd-server": NOTHING,
    "etcd-peer": NOTHING,
}
"""By row of kubewright/model/certificates.py: a prefix of keys, everything, or nothing (it is no user of etcd's at all)."""

USERS = {ROWS[row].common_name: right for row, right in RIGHTS.items() if right is not NOTHING}
"""etcd's users, by the common name that makes a certificate one of them, with their right."""
ROOT = "root"
"""etcd's role that may do everything."""


def role_of(user: str) -> str:
    """The role that gives a user its right: its own, or root's."""
    return ROOT if USERS[user] == EVERYTHING else user
