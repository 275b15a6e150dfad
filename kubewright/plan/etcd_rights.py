"""What each certificate of etcd's authority may touch in etcd: the users that are made, and what `verify --tls` tries."""

from __future__ import annotations

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
"""By row of pki/table.py: a prefix of keys, everything, or nothing (it is no user of etcd's at all)."""
