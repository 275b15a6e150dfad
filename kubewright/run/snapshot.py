"""A snapshot of etcd, beside the inventory."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from kubewright.errors import Failed
from kubewright.model.cluster import ETCD_CLIENT_PORT

if TYPE_CHECKING:
    from kubewright.run.session import Session

BACKUPS = "backups"
_SNAPSHOT = f"""umask 077; d=$(mktemp -d) && trap 'rm -rf "$d"' EXIT
/usr/local/bin/etcdctl --endpoints=https://127.0.0.1:{ETCD_CLIENT_PORT} --cacert=/etc/etcd/pki/ca.crt \\
  --cert=/etc/etcd/pki/root.crt --key=/etc/etcd/pki/root.key snapshot save "$d/db" >&2 && cat "$d/db"
"""


def take(session: Session, failed: str) -> Path | None:
    """Where it lies; None where no host has etcd's data. Failed, with what `failed` says, when no member gives one."""
    members = _members(session)
    if not members:
        return None
    target = session.inventory / BACKUPS / time.strftime("etcd-%Y%m%dT%H%M%SZ.db", time.gmtime())
    target.parent.mkdir(mode=0o700, exist_ok=True)
    reasons = []
    for name in members:
        if (why := session.remotes[name].download(_SNAPSHOT, target)) is None:
            session.say(f"snapshot of etcd from {name}: {target}")
            return target
        reasons.append(f"{name}: {why}")
    raise Failed(f"no etcd member gives a snapshot ({'; '.join(reasons)}); {failed}")


def _members(session: Session) -> list[str]:
    seen = session.observed.items()
    return [name for name, host in seen if host.entries.get("/var/lib/etcd") and "etcd.service" in host.started_with]
