"""What a host said of itself, typed. One command a host prints it; `parse` reads it; golden tests use recorded ones."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from kubewright.plan.others import TRACES
from pki import encryption

SECTION = "@@"
INSTALLED = "/var/lib/kubewright/installed"

FOLDERS = (
    "/etc/kubernetes",
    "/etc/etcd",
    "/etc/containerd",
    "/etc/cni/net.d",
    "/etc/flannel",
    "/opt/cni",
    "/opt/kubewright",
)
"""Folders whose every file is listed; regular files up to 1 MiB are hashed, larger ones are known by manifest."""

PATHS = (
    "/etc/crictl.yaml",
    "/etc/firewalld/policies/kubewright.xml",
    "/etc/firewalld/policies/kubewright-pods.xml",
    "/etc/modules-load.d/kubernetes.conf",
    "/etc/sysctl.d/99-kubernetes.conf",
    "/var/lib/containerd",
    "/var/lib/etcd",
    "/var/lib/kubelet",
    "/var/lib/kubewright",
    "/var/lib/kubewright/started",
    INSTALLED,
    "/var/log/kubernetes",
    "/var/log/kubernetes/audit",
)
"""Single files and folders outside them."""

LINK_FOLDERS = ("/usr/local/bin",)
"""Folders that are not ours alone: only links into /opt/kubewright are listed."""

AUTHORITIES = (
    "/etc/kubernetes/pki/ca.crt",
    "/etc/etcd/pki/ca.crt",
    "/etc/kubernetes/pki/front-proxy-ca.crt",
    "/etc/kubernetes/pki/sa.pub",
)
"""Whose certificates and public keys say which cluster a host is of, and how far its rotations had come there."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A file system entry. `kind` is find's letter: f, d, l. `mode` is the permission bits."""

    kind: str
    mode: int
    owner: str
    group: str
    size: int
    target: str = ""
    sha256: str = ""


@dataclass(frozen=True, kw_only=True)
class UnitState:
    """systemd's ActiveState and UnitFileState, and since when it runs (microseconds since boot, 0: never)."""

    active: str = "inactive"
    enabled: str = ""
    started: str = ""
    needs_reload: bool = False


@dataclass(frozen=True, kw_only=True)
class Interface:
    """A network interface. `mac` is empty or all zeros where it has none."""

    name: str
    mtu: int
    mac: str


@dataclass(frozen=True, kw_only=True)
class Observed:
    """One host at one moment."""

    os_id: str
    os_version: str
    architecture: str
    kernel: str
    cgroup: int
    cgroup_controllers: frozenset[str]
    hostname: str
    machine_id: str
    clock: float
    memory_kib: int
    free_kib: Mapping[str, int]
    swap: bool
    selinux: str
    firewalld: bool
    initial_network_namespace: bool
    lowers_oom_score: bool
    addresses: tuple[str, ...]
    interfaces: Mapping[str, Interface]
    """By the address that each has."""
    listening: Mapping[tuple[str, int], str]
    """Process by protocol (`tcp`, `udp`) and port; an empty name where the kernel itself listens."""
    bound: Mapping[tuple[str, int], frozenset[str]]
    """The addresses that each of them is bound to; `*` is all of the host's."""
    packages: frozenset[str]
    users: frozenset[str]
    programs: frozenset[str]
    resolv_conf: str
    """The file that pods' DNS settings come from: systemd-resolved's own, where the usual one names its stub."""
    has_nameserver: bool
    entries: Mapping[str, Entry] = field(default_factory=dict)
    manifest: Mapping[str, tuple[str, int]] = field(default_factory=dict)
    units: Mapping[str, UnitState] = field(default_factory=dict)
    started_with: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    installed: tuple[str, ...] = ()
    """What kubewright has put there, by its own record: `KIND PATH`."""
    etcd_members: frozenset[str] = frozenset()
    """The members that its etcd unit was written for; empty where there is none."""
    etcd_leads: bool = False
    """Whether its etcd member is the leader now."""
    etcd_token: str = ""
    """The name of the cluster that its etcd unit was written for."""
    authorities: frozenset[str] = frozenset()
    """The certificates and public keys that it trusts, PEM; see AUTHORITIES."""
    encryption_keys: frozenset[str] = frozenset()
    """The names, and nothing more, of the keys that its apiserver reads Secrets with."""
    traces: tuple[str, ...] = ()
    """Paths that other installers leave. Looked for only where kubewright has installed nothing yet, as are the next."""
    blocked: Mapping[tuple[str, int], str] = field(default_factory=dict)
    """Peers' ports (address, TCP port) that it could not reach, and why."""
    cluster_nodes: tuple[str, ...] | None = None
    """The nodes that the API knows, asked on a master; None when it was not asked or did not answer."""

    def holds(self, path: str, sha256: str, size: int) -> bool:
        """Whether a payload is there: the manifest names its sum, and the file has its size still (and sum, where rehashed)."""
        return path in self.entries and self.manifest.get(path) == (sha256, size) and not self.damaged(path)

    def damaged(self, path: str) -> bool:
        """Whether a payload is there, but is not what its manifest says."""
        entry = self.entries.get(path)
        if entry is None:
            return False
        sha256, size = self.manifest.get(path, ("", -1))
        return entry.size != size or entry.sha256 not in ("", sha256)

    def runs(self, unit: str) -> bool:
        return self.units.get(unit, UnitState()).active in ("active", "activating", "reloading")

    @property
    def begun(self) -> bool:
        """Whether kubewright has begun to install here: its record comes first. Should that be lost, binaries are there."""
        return bool(self.installed or self.manifest)


def script(units: tuple[str, ...], programs: tuple[str, ...], probes: str = ":", *, deep: bool = False) -> str:
    """The one command: POSIX sh, run as root, changes nothing. It waits for what a dead run left going on the host.

    `probes` (see `peers.probes`) is shell that a host runs which has nothing of ours yet. `deep`: payloads are rehashed, too.
    """
    entry = r"-printf '%p\t%y\t%m\t%u\t%g\t%s\t%l\n' 2>/dev/null"
    folders, paths, links = " ".join(FOLDERS), " ".join(PATHS), " ".join(LINK_FOLDERS)
    names = " ".join(shlex.quote(u) for u in units)
    payloads = "find /opt/kubewright -type f ! -name .manifest -exec sha256sum {} + 2>/dev/null" if deep else ""
    unit_files = " ".join(f"/etc/systemd/system/{u}" for u in units)
    return f"""
if [ -e /run/kubewright.lock ]; then exec 9</run/kubewright.lock; flock -s -w 600 9; fi
LC_ALL=C; export LC_ALL; PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin; export PATH
s() {{ echo '{SECTION}'"$1"; }}
s os; cat /etc/os-release
s facts
echo "architecture=$(uname -m)"; echo "kernel=$(uname -r)"; echo "hostname=$(uname -n)"
echo "machine_id=$(cat /etc/machine-id 2>/dev/null)"; echo "clock=$(date +%s.%N)"
[ "$(stat -fc %T /sys/fs/cgroup)" = cgroup2fs ] && echo cgroup=2 || echo cgroup=1
echo "cgroup_controllers=$(cat /sys/fs/cgroup/cgroup.controllers 2>/dev/null || cut -d: -f2 /proc/self/cgroup | tr '\\n,' '  ')"
echo "selinux=$(getenforce 2>/dev/null || echo Disabled)"
systemctl is-active --quiet firewalld 2>/dev/null && echo firewalld=1 || echo firewalld=0
[ -n "$(find /proc/sys/net/netfilter/nf_conntrack_max -perm -200 2>/dev/null)" ] && echo init_net=1 || echo init_net=0
grep ^CapEff: /proc/1/status; grep ^MemTotal: /proc/meminfo
f=/run/systemd/resolve/resolv.conf; [ -f $f ] || f=/etc/resolv.conf; echo "resolv_conf=$f"
grep -q ^nameserver $f 2>/dev/null && echo nameserver=1 || echo nameserver=0
[ "$(wc -l < /proc/swaps)" -gt 1 ] && echo swap=1 || echo swap=0
s free; for d in / /opt /var/lib /etc; do echo "$d $(df -Pk $d | awk 'NR==2 {{print $4}}')"; done
s addresses; ip -o -4 addr show | while read -r number name family address rest; do
  mtu=0 mac=; read -r mtu < "/sys/class/net/$name/mtu"; read -r mac < "/sys/class/net/$name/address"
  echo "$address $name $mtu $mac"
done
s listening; ss -Hltunp
s packages
if command -v dpkg-query >/dev/null; then dpkg-query -W -f '${{db:Status-Abbrev}} ${{Package}}\\n' | grep ^ii
else rpm -qa --qf 'ii  %{{NAME}}\\n'; fi
s users; cut -d: -f1 /etc/passwd
s programs; for p in {" ".join(programs)}; do command -v $p >/dev/null && echo $p; done
s entries; find {folders} {entry}; find {paths} {unit_files} -maxdepth 0 {entry}
find {links} -maxdepth 1 -type l -lname '/opt/kubewright/*' {entry}
s sums; find {folders} -type f -size -1025k ! -path '/opt/kubewright/*' -exec sha256sum {{}} + 2>/dev/null
find {paths} {unit_files} -maxdepth 0 -type f -exec sha256sum {{}} + 2>/dev/null
{payloads}
s installed; cat {INSTALLED} 2>/dev/null
s etcd; sed -n 's/.*--initial-cluster=\\([^ ]*\\).*/\\1/p' /etc/systemd/system/etcd.service 2>/dev/null
s token; sed -n 's/.*--initial-cluster-token=\\([^ ]*\\).*/\\1/p' /etc/systemd/system/etcd.service 2>/dev/null
s leads; e=/etc/etcd/pki/healthcheck-client
m="-m 2 --cacert /etc/etcd/pki/ca.crt --cert $e.crt --key $e.key https://127.0.0.1:2379/metrics"
[ ! -f $e.key ] || curl -fsS $m 2>/dev/null | grep -x 'etcd_server_is_leader 1'
s authorities; cat {" ".join(AUTHORITIES)} 2>/dev/null
s encryption; sed -n 's/^ *- name: //p' {encryption.PATH} 2>/dev/null
s traces; [ -e {INSTALLED} ] || for p in {" ".join(TRACES)}; do [ ! -e "$p" ] || echo "$p"; done
s peers; [ -e {INSTALLED} ] || {probes}
s nodes; k=/etc/kubernetes/admin.conf
[ ! -f $k ] || ! names=$(kubectl --kubeconfig=$k get nodes --request-timeout=3s -o name 2>/dev/null) || echo "$names
."
s manifest; cat /opt/kubewright/*/*/.manifest 2>/dev/null
s started; for f in /var/lib/kubewright/started/*; do [ -f "$f" ] && echo "= ${{f##*/}}" && cat "$f"; done
s units; systemctl show -p Id,ActiveState,UnitFileState,ActiveEnterTimestampMonotonic,NeedDaemonReload {names}
s end
"""


def _sections(text: str) -> dict[str, list[str]]:
    sections: dict[str, list[str]] = {}
    current: list[str] = []
    for line in text.splitlines():
        if line.startswith(SECTION):
            current = sections.setdefault(line.removeprefix(SECTION), [])
        else:
            current.append(line)
    if "end" not in sections:
        raise ValueError("the answer is cut short")
    return sections


def _pairs(lines: list[str], separator: str = "=") -> dict[str, str]:
    split = (line.partition(separator) for line in lines if separator in line)
    return {key.strip(): value.strip().strip("\"'") for key, _, value in split}


def _blocks(lines: list[str]) -> Iterator[dict[str, str]]:
    block: list[str] = []
    for line in [*lines, ""]:
        if line:
            block.append(line)
        elif block:
            yield _pairs(block)
            block = []


def _entries(lines: list[str], sums: list[str]) -> dict[str, Entry]:
    by_path = {path: sha for sha, _, path in (line.partition("  ") for line in sums)}
    found = {}
    for line in lines:
        path, kind, mode, owner, group, size, target = line.split("\t")
        found[path] = Entry(
            kind=kind,
            mode=int(mode, 8),
            owner=owner,
            group=group,
            size=int(size),
            target=target,
            sha256=by_path.get(path, ""),
        )
    return found


def _bound(lines: list[str]) -> dict[tuple[str, int], frozenset[str]]:
    found: dict[tuple[str, int], set[str]] = {}
    for protocol, local in ((columns[0], columns[4]) for columns in map(str.split, lines)):
        address, _, port = local.rpartition(":")
        plain = address.strip("[]").partition("%")[0]
        found.setdefault((protocol, int(port)), set()).add("*" if plain in ("0.0.0.0", "::") else plain)  # noqa: S104
    return {key: frozenset(addresses) for key, addresses in found.items()}


def _listening(lines: list[str]) -> dict[tuple[str, int], str]:
    found = {}
    for columns in (line.split() for line in lines):
        process = columns[6].split('"')[1] if len(columns) > 6 and '"' in columns[6] else ""
        found[columns[0], int(columns[4].rpartition(":")[2])] = process
    return found


def _started(lines: list[str]) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for line in lines:
        if line.startswith("= "):
            current = found.setdefault(line.removeprefix("= "), {})
        else:
            sha, _, path = line.partition(" ")
            current[path] = sha
    return found


def _nodes(lines: list[str]) -> tuple[str, ...] | None:
    names = tuple(line.removeprefix("node/") for line in lines if line.startswith("node/"))
    return names if "." in lines else None


def _interfaces(lines: list[str]) -> dict[str, Interface]:
    found = {}
    for address, name, mtu, *mac in (line.split() for line in lines):
        found[address.partition("/")[0]] = Interface(name=name, mtu=int(mtu), mac="".join(mac))
    return found


def _blocked(lines: list[str]) -> dict[tuple[str, int], str]:
    found = {}
    for line in lines:
        door, _, why = line.partition(" ")
        address, port = door.split("/")
        found[address, int(port)] = why
    return found


def certificates(pem: str) -> frozenset[str]:
    """The certificates and public keys in a PEM text, each without what stands around it."""
    return frozenset(re.findall(r"-----BEGIN (?:CERTIFICATE|PUBLIC KEY)-----\n.*?\n-----END [A-Z ]+-----", pem, re.DOTALL))


CAP_SYS_RESOURCE = 24


def parse(text: str) -> Observed:
    """`script`'s output, typed. ValueError or KeyError when it is not such an output."""
    sections = _sections(text)
    release, facts = _pairs(sections["os"]), _pairs(sections["facts"])
    colon = _pairs(sections["facts"], ":")
    manifest = (line.split(" ", 2) for line in sections["manifest"])
    return Observed(
        os_id=release.get("ID", ""),
        os_version=release.get("VERSION_ID", ""),
        architecture={"x86_64": "amd64", "aarch64": "arm64"}.get(facts["architecture"], facts["architecture"]),
        kernel=facts["kernel"],
        cgroup=int(facts["cgroup"]),
        cgroup_controllers=frozenset(facts["cgroup_controllers"].split()),
        hostname=facts["hostname"],
        machine_id=facts["machine_id"],
        clock=float(facts["clock"]),
        memory_kib=int(colon["MemTotal"].split()[0]),
        free_kib={path: int(free) for path, free in (line.split() for line in sections["free"])},
        swap=facts["swap"] == "1",
        selinux=facts["selinux"].lower(),
        firewalld=facts["firewalld"] == "1",
        initial_network_namespace=facts["init_net"] == "1",
        lowers_oom_score=bool(int(colon["CapEff"], 16) >> CAP_SYS_RESOURCE & 1),
        addresses=tuple(line.partition("/")[0] for line in sections["addresses"]),
        interfaces=_interfaces(sections["addresses"]),
        listening=_listening(sections["listening"]),
        bound=_bound(sections["listening"]),
        packages=frozenset(line.split()[1] for line in sections["packages"]),
        users=frozenset(sections["users"]),
        programs=frozenset(sections["programs"]),
        resolv_conf=facts["resolv_conf"],
        has_nameserver=facts["nameserver"] == "1",
        entries=_entries(sections["entries"], sections["sums"]),
        manifest={path: (sha, int(size)) for sha, size, path in manifest},
        units={
            block["Id"]: UnitState(
                active=block["ActiveState"],
                enabled=block.get("UnitFileState", ""),
                started=block.get("ActiveEnterTimestampMonotonic", ""),
                needs_reload=block.get("NeedDaemonReload") == "yes",
            )
            for block in _blocks(sections["units"])
        },
        started_with=_started(sections["started"]),
        installed=tuple(sections["installed"]),
        etcd_leads=bool(sections.get("leads")),
        etcd_members=frozenset(m.partition("=")[0] for line in sections["etcd"] for m in line.split(",")),
        etcd_token="".join(sections["token"][:1]),
        authorities=certificates("\n".join(sections["authorities"])),
        encryption_keys=frozenset(sections.get("encryption", ())),
        traces=tuple(sections["traces"]),
        blocked=_blocked(sections["peers"]),
        cluster_nodes=_nodes(sections["nodes"]),
    )
