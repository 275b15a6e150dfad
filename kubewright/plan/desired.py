"""The desired state of a host in one step: folders, files, links, payloads and units, as data. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from kubewright.observe.objects import Ref


@dataclass(frozen=True, kw_only=True)
class Stored:
    """Content in the private store: identified by its sum, read only when a host needs it."""

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
    """One regular file, replaced atomically.

    `restarts` names the units that must restart when its content changes. `apply` is shell that runs before the file is put
    in place, with `$new` the staged file: the file is then the evidence that it ran.
    """

    path: str
    content: bytes | Stored = field(repr=False)
    owner: str = "root"
    group: str = "root"
    mode: int = 0o644
    restarts: tuple[str, ...] = ()
    apply: str = ""
    fills: tuple[str, int] | None = None
    """The folder that `apply` writes to, and the approximate number of bytes."""
    title: str = ""
    """For people, where `apply` does more than put a file in place."""
    stale: bool = False
    """From the observation: the file may exist, but its effect does not."""
    hidden: bool = False
    """Its content has a secret that is not in the private store: nobody is shown the content."""

    @cached_property
    def sha256(self) -> str:
        return self.content.sha256 if isinstance(self.content, Stored) else hashlib.sha256(self.content).hexdigest()

    @property
    def secret(self) -> bool:
        return self.hidden or isinstance(self.content, Stored)


@dataclass(frozen=True, kw_only=True)
class Payload:
    """A large file in a versioned folder of its own, never changed after its arrival.

    The host keeps its sum in a manifest beside it, written after the sum was checked, and does not hash it again. `local` is
    the zstd-compressed copy, of `packed` bytes, that is sent; with `url` the host fetches it from there.
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
    """From the observation: the number of compressed bytes in `partial`."""
    damaged: bool = False
    """From the observation: the payload differs from its manifest."""

    @property
    def partial(self) -> str:
        """The file for the compressed bytes until all of them have arrived."""
        return f"{self.path}.{self.sha256[:16]}.{self.packed}.part"


@dataclass(frozen=True, kw_only=True)
class Link:
    """A symlink, replaced atomically: the active version of a binary."""

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
    """For faults that appear late. After a restart for one of `causes` (paths), the unit must stay ready for `seconds` on
    the first host before the next host changes."""

    seconds: int
    causes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Unit:
    """A systemd unit that is enabled and runs.

    `gate` is shell that runs before an active unit is stopped (non-zero: refuse, with its output as the reason);
    `before_stop` is shell run just before the stop; `ready` is shell polled until it succeeds, at most `timeout` seconds.
    For a change of only `reloads` (paths) it is reloaded, without a stop.
    """

    name: str
    gate: str = ""
    before_stop: str = ""
    transfer: Transfer | None = None
    ready: str = ""
    trial: Trial | None = None
    drained: bool = False
    """Its node is drained before the unit starts in another version."""
    timeout: int = 120
    reloads: tuple[str, ...] = ()
    outdated: tuple[str, ...] = ()
    """From the observation: its inputs that are no files on the host, and that have changed since it started."""


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
    removes: tuple[Ref | str, ...] = ()
    """What it removes, objects or subjects of facts: it is due while the cluster shows one of them."""
    leaves: tuple[Ref, ...] = ()
    """The objects that it wants no more and leaves in the cluster, for people to know."""


@dataclass(frozen=True, kw_only=True)
class Desired:
    """The desired state of one host in one step, in the order of execution: late files come after the units, tasks last."""

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
    """Versioned folders below HOME to remove, last of all."""
