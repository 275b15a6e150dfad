"""One host in memory: files with their content, units, packages, and its observed state."""

from __future__ import annotations

import dataclasses
import hashlib
import re
import time
from dataclasses import dataclass, field

from deploy.waves import ROLES
from kubewright.model import lineage
from kubewright.model.places import STATE
from kubewright.observe import live_text
from kubewright.observe.installers import TRACES
from kubewright.observe.live_script import FLAGS
from kubewright.observe.observed import (
    AUTHORITIES,
    ETCD_MARK,
    INSTALLED,
    LINK_FOLDERS,
    PAYLOADS,
    Entry,
    Observed,
    UnitState,
)
from kubewright.observe.text import certificates
from kubewright.plan.places import places
from kubewright.releases.systems import PACKAGES
from pki import encryption

OBSERVED = places(ROLES)
UNIT_FOLDER = "/etc/systemd/system"
NOTIFY = (
    "etcd.service",
    "kube-apiserver.service",
    "flanneld.service",
    "containerd.service",
    "kube-apiserver-load-balancer.service",
)
"""Units whose start returns once they notify readiness (Type=notify); the first three wait without limit."""


@dataclass(kw_only=True)
class Service:
    """One unit. `read` is its file as systemd knows it; `began_with`: all files and links when the process started."""

    running: bool = False
    crashed: bool = False
    enabled: bool = False
    ready_at: float = 0.0
    read: bytes = b""
    began_with: dict[str, str] = field(default_factory=dict)


@dataclass(kw_only=True)
class Machine:
    """The state that survives a run. Locks do not: see `Fleet`."""

    name: str
    base: Observed
    entries: dict[str, Entry] = field(default_factory=dict)
    contents: dict[str, bytes] = field(default_factory=dict)
    manifest: dict[str, tuple[str, int]] = field(default_factory=dict)
    services: dict[str, Service] = field(default_factory=dict)
    packages: set[str] = field(default_factory=set)
    users: set[str] = field(default_factory=set)
    imported: set[str] = field(default_factory=set)
    journal: list[str] = field(default_factory=list)
    etcd: int = 0
    """The cluster of its data in /var/lib/etcd, by the number of its creation; 0: no data."""
    gives_up: bool = False
    """Whether systemd leaves a crashing unit as failed; else it restarts it without end."""

    def copy(self) -> Machine:
        return dataclasses.replace(
            self,
            entries=dict(self.entries),
            contents=dict(self.contents),
            manifest=dict(self.manifest),
            services={unit: dataclasses.replace(service) for unit, service in self.services.items()},
            packages=set(self.packages),
            users=set(self.users),
            imported=set(self.imported),
            journal=list(self.journal),
        )

    # -- files

    def sums(self) -> dict[str, str]:
        """Every file and link by its path: its SHA-256 or its target."""
        return {path: e.sha256 or e.target for path, e in self.entries.items() if e.kind != "d"}

    def directory(self, path: str, owner: str = "root", group: str = "root", mode: int = 0o755) -> None:
        self.entries[path] = Entry(kind="d", mode=mode, owner=owner, group=group, size=4096)

    def parents(self, path: str) -> None:
        """`mkdir -p` of its folder."""
        parent = path.rpartition("/")[0]
        if parent.count("/") > 1 and parent not in self.entries:
            self.parents(parent)
            self.directory(parent)

    def write(self, path: str, content: bytes, owner: str = "root", group: str = "root", mode: int = 0o644) -> None:
        self.parents(path)
        sha = hashlib.sha256(content).hexdigest()
        self.entries[path] = Entry(kind="f", mode=mode, owner=owner, group=group, size=len(content), sha256=sha)
        self.contents[path] = content

    def resize(self, path: str, size: int) -> None:
        """Only a payload's size is modelled, not its content."""
        self.entries[path] = dataclasses.replace(self.entries[path], size=size, sha256="")

    def link(self, path: str, target: str) -> None:
        self.parents(path)
        self.entries[path] = Entry(kind="l", mode=0o777, owner="root", group="root", size=len(target), target=target)

    def move(self, path: str, new: str) -> None:
        self.entries[new] = self.entries.pop(path)
        if path in self.contents:
            self.contents[new] = self.contents.pop(path)

    def remove(self, path: str) -> None:
        self.entries.pop(path, None)
        self.contents.pop(path, None)

    def executable(self, path: str) -> bool:
        """Whether a link points to a complete binary."""
        entry = self.entries.get(path)
        return entry is not None and entry.kind == "l" and entry.target in self.manifest and entry.target in self.entries

    def installed(self) -> frozenset[str]:
        return frozenset(self.contents.get(INSTALLED, b"").decode().splitlines())

    # -- systemd

    def service(self, unit: str) -> Service:
        return self.services.setdefault(unit, Service())

    def reload(self) -> None:
        for unit in {p.rpartition("/")[2] for p in self.contents if p.startswith(UNIT_FOLDER)} | set(self.services):
            self.service(unit).read = self.contents.get(f"{UNIT_FOLDER}/{unit}", b"")

    def _state(self, unit: str, now: float) -> UnitState:
        service = self.services[unit]
        active = "active" if service.running else ("failed" if self.gives_up else "activating") if service.crashed else "inactive"
        if service.running and unit in NOTIFY and service.ready_at > now:
            active = "activating"
        file = self.contents.get(f"{UNIT_FOLDER}/{unit}", b"")
        enabled = ("enabled" if service.enabled else "disabled") if file else ""
        return UnitState(active=active, enabled=enabled, needs_reload=bool(service.read) and service.read != file)

    # -- observation

    def _seen(self, path: str, entry: Entry, units: frozenset[str]) -> bool:
        folder, _, name = path.rpartition("/")
        if entry.kind == "l" and folder in LINK_FOLDERS:
            return entry.target.startswith("/opt/kubewright/")
        if any(path == f or path.startswith(f"{f}/") for f in OBSERVED.folders) or path in OBSERVED.alone:
            return True
        return folder == UNIT_FOLDER and name in units

    def _configured(self) -> dict[str, str]:
        """As `live_script` reads it from the units."""
        found = {}
        for unit in ("etcd", "kube-apiserver", "kube-controller-manager", "kubelet"):
            text = self.contents.get(f"{UNIT_FOLDER}/{unit}.service", b"").decode()
            for flag, value in re.findall(rf"^ *--({FLAGS})=(\S*)", text, re.MULTILINE):
                found[f"{unit} {flag}"] = value
        for line in self.contents.get("/etc/etcd/bootstrap.env", b"").decode().splitlines():
            if line.startswith("ETCD_INITIAL_CLUSTER_TOKEN="):
                found["etcd initial-cluster-token"] = line.partition("=")[2]
        return found

    def observe(self, units: frozenset[str], now: float) -> Observed:
        """The output of the observing command of these roles."""
        programs = {p for rows in PACKAGES.values() for p, package, _ in rows if package in self.packages and p}
        started = f"{STATE}/started/"
        trusted = "\n".join(self.contents.get(path, b"").decode() for path in AUTHORITIES)
        keys = self.contents.get(encryption.PATH, b"").decode()
        record, fault = live_text.lineage(self.contents.get(lineage.PATH, b"").decode().splitlines())
        records = {p.removeprefix(started): c.decode() for p, c in self.contents.items() if p.startswith(started)}
        return dataclasses.replace(
            self.base,
            clock=time.time(),
            packages=self.base.packages | self.packages,
            users=self.base.users | self.users,
            programs=self.base.programs | programs,
            entries={p: e for p, e in self.entries.items() if self._seen(p, e, units)},
            manifest=dict(self.manifest),
            units={unit: self._state(unit, now) for unit in units & set(self.services)},
            started_with={
                u: {path: sha for sha, _, path in (line.partition(" ") for line in text.splitlines())}
                for u, text in records.items()
            },
            payloads=tuple(self.contents.get(PAYLOADS, b"").decode().splitlines()),
            installed=tuple(self.contents.get(INSTALLED, b"").decode().splitlines()),
            configured=self._configured(),
            lineage=record,
            lineage_fault=fault,
            etcd_token=self._configured().get("etcd initial-cluster-token", ""),
            etcd_data=bool(self.etcd),
            etcd_marked=ETCD_MARK in self.entries,
            authorities=certificates(trusted),
            encryption_keys=frozenset(re.findall(r"^ *- name: (.*)$", keys, re.MULTILINE)),
            traces=() if INSTALLED in self.contents else tuple(path for path in TRACES if path in self.entries),
        )
