"""What a step wants on a host: folders, files, links, payloads and units, as data. Pure bytes, no host."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from kubewright.observe.objects import Ref


@dataclass(frozen=True, kw_only=True)
class Stored:
    """Content that lies in the private store: known by its sum, read only when a host needs it."""

    name: str
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Directory:
    path: str
    owner: str = "root"
    group: str = "root"
    mode: int = 0o755


@dataclass(frozen=True, kw_only=True)
class File:
    """One regular file, replaced at once and whole.

    `restarts` names the units that must restart when its content changes. `apply` is shell that is run, with `$new`
    the staged file, before the file is put in place: the file then is the evidence that it was carried out.
    """

    path: str
    content: bytes | Stored
    owner: str = "root"
    group: str = "root"
    mode: int = 0o644
    restarts: tuple[str, ...] = ()
    apply: str = ""
    fills: tuple[str, int] | None = None
    """The folder that `apply` writes to, and about how many bytes."""
    title: str = ""
    """For a person, where `apply` does more than put a file in place."""
    stale: bool = False
    """As observed: the file may be there, but what it was applied for is not so."""

    @cached_property
    def sha256(self) -> str:
        return self.content.sha256 if isinstance(self.content, Stored) else hashlib.sha256(self.content).hexdigest()

    @property
    def secret(self) -> bool:
        return isinstance(self.content, Stored)


@dataclass(frozen=True, kw_only=True)
class Payload:
    """A large file in a versioned folder of its own, never changed once it is there.

    The host keeps its sum in a manifest beside it, written after the sum was checked, and is not asked to hash it
    again. `local` is the zstd-compressed copy of `packed` bytes that is sent; with `url` the host fetches it from there.
    """

    path: str
    sha256: str
    size: int
    mode: int
    local: Path
    packed: int
    selinux_type: str = "bin_t"
    url: str = ""
    there: int = 0
    """As observed: how many of the compressed bytes `partial` holds."""
    damaged: bool = False
    """As observed: it is there, but is not what its manifest says."""

    @property
    def partial(self) -> str:
        """Where the compressed bytes are kept until all of them have arrived."""
        return f"{self.path}.{self.sha256[:16]}.{self.packed}.part"


@dataclass(frozen=True, kw_only=True)
class Link:
    """A symlink, moved atomically: which version of a binary is the active one."""

    path: str
    target: str
    restarts: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Transfer:
    """How a leader transfers its leadership before its host acts, while client traffic is dropped. All of it is shell.

    On the leader, `choose` prints the new leader, or nothing. `drop` drops traffic on every host of the role; `move`, on the
    leader, transfers to $1; `admit` ends the drop on every host. A drop also ends by itself, and a failed transfer is left to
    the unit's `before_stop`.
    """

    choose: str
    drop: str
    move: str
    admit: str


@dataclass(frozen=True, kw_only=True)
class Trial:
    """For faults that show late. After a restart for one of `causes` (paths), the unit must stay ready for `seconds` on the
    first host, before another host is changed."""

    seconds: int
    causes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Unit:
    """A systemd unit that is enabled and runs.

    `gate` is shell asked before an active unit is stopped (non-zero: refuse, its output says why); `before_stop` is
    shell run just before that; `ready` is shell polled until it succeeds, at most `timeout` seconds. For a change of
    nothing but `reloads` (paths) it is reloaded, which stops nothing.
    """

    name: str
    gate: str = ""
    before_stop: str = ""
    transfer: Transfer | None = None
    ready: str = ""
    trial: Trial | None = None
    drained: bool = False
    """Before it starts in another version, its node is drained."""
    timeout: int = 120
    reloads: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ClusterTask:
    """Work in the cluster, done through one host. It leaves nothing on that host: the cluster itself shows that it is done.

    `evidence` is what `Observed.facts` then says, by the subject of each fact. The task is due while one of them differs or
    is not known, so it must be safe to repeat. `apply` is shell, run with `$new` the staged `content`.
    """

    title: str
    content: bytes
    apply: str
    evidence: Mapping[str, str]
    objects: tuple[Ref, ...] = ()
    """The Kubernetes objects that it applies. One that no task applies any more is removed at the end of a run."""
    removes: tuple[Ref, ...] = ()
    """The objects that it removes: it is due while the cluster shows one of them."""


@dataclass(frozen=True, kw_only=True)
class Desired:
    """All that one step wants on one host, in the order it is done: late files come after the units, tasks last."""

    packages: tuple[str, ...] = ()
    users: tuple[str, ...] = ()
    directories: tuple[Directory, ...] = ()
    payloads: tuple[Payload, ...] = ()
    files: tuple[File, ...] = ()
    links: tuple[Link, ...] = ()
    units: tuple[Unit, ...] = ()
    late: tuple[File, ...] = ()
    tasks: tuple[ClusterTask, ...] = ()
    undecided: tuple[str, ...] = ()
    """Names of tasks that depend on something unknown now. Their objects stay: an unknown task is not an unwanted one."""
    gone: tuple[str, ...] = ()
    """Versioned folders below HOME that are to be removed, last of all."""
