"""Every managed file, link and unit of a cluster's hosts, to compare before and after."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from deploy.waves import ROLES
from kubewright.plan.places import places
from tests.cluster.conftest import Cluster

UNITS = sorted({unit for role in ROLES for unit in role.units})
_OBSERVED = places(ROLES)
_FOLDERS = (*_OBSERVED.folders, "/var/lib/kubewright", "/usr/local/bin", "/etc/systemd/system", "/etc/firewalld")
_FIND = "-printf '%p\\t%y %m %u %g %s %l\\t%T@\\n' 2>/dev/null"
_HASHED = " ".join(folder for folder in _FOLDERS if folder != "/opt/kubewright")
_SHOW = f"""
find {" ".join(_FOLDERS)} ! -type d {_FIND}
find {" ".join(_OBSERVED.alone)} -maxdepth 0 -type f {_FIND}
find {_HASHED} -type f -exec sha256sum {{}} + 2>/dev/null | awk '{{print $2 "#\\t" $1 "\\t"}}'
show() {{ systemctl show "$@" | tr '\\n' ' '; }}
for u in {" ".join(UNITS)}; do
  printf 'unit:%s\\t%s\\t' $u "$(show -P ActiveState -P UnitFileState $u)"
  echo "$(show -P ActiveEnterTimestampMonotonic -P MainPID $u)"
done
"""


@dataclass(frozen=True, kw_only=True)
class Seen:
    """Every managed file, link and unit of all hosts, with its content and time."""

    what: dict[tuple[str, str], str]
    since: dict[tuple[str, str], str]

    def touched(self, before: Seen) -> set[tuple[str, str]]:
        """(host, path or unit:name) that was written, removed, started or stopped since `before`. Sums are not listed."""
        keys = self.what.keys() | before.what.keys()
        return {
            (host, path.removesuffix("#"))
            for host, path in keys
            if (self.what.get((host, path)), self.since.get((host, path)))
            != (before.what.get((host, path)), before.since.get((host, path)))
        }


def see(cluster: Cluster) -> Seen:
    hosts = [h.name for h in cluster.lab.hosts]
    with ThreadPoolExecutor(len(hosts)) as pool:
        outputs = list(pool.map(lambda host: cluster.ssh(host, _SHOW).stdout, hosts))
    what, since = {}, {}
    for host, output in zip(hosts, outputs, strict=True):
        for line in output.splitlines():
            path, said, at = line.split("\t")
            what[host, path], since[host, path] = said, at
    return Seen(what=what, since=since)


def local(cluster: Cluster) -> dict[str, tuple[int, int]]:
    """The inventory's own files but the logs, with size and time of the last change."""
    files = (p for p in cluster.inventory.rglob("*") if p.is_file() and "logs" not in p.parts)
    return {str(p): (p.stat().st_size, p.stat().st_mtime_ns) for p in files if p.name != ".lock"}
