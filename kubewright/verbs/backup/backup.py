"""`kubewright backup`: snapshot, keys, cluster.yaml, record and journal in one encrypted file, read again at once."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import gevent

from kubewright.backup import archive, keeping
from kubewright.backup.age import Lock
from kubewright.backup.manifest import INVENTORY, SNAPSHOT, Manifest, Taken
from kubewright.backup.scratch import scratch
from kubewright.errors import BadInput, Failed, Problem
from kubewright.model.lineage import FILE as LINEAGE
from kubewright.model.lineage import Lineage
from kubewright.observe.live import Live, live_of
from kubewright.plan.role import Role
from kubewright.plan.transition import record_of
from kubewright.releases.version import Version
from kubewright.run import lineage_copy
from kubewright.run.connection import connected
from kubewright.run.events import Event
from kubewright.run.session import Session
from kubewright.spec import load
from kubewright.verbs.backup import files, taking
from pki.store import INDEX, PRIVATE, Store


@dataclass(frozen=True, kw_only=True)
class Made:
    """A new backup, and the old ones that were removed for it."""

    path: Path
    manifest: Manifest
    removed: tuple[Path, ...]


def backup(
    inventory: Path,
    roles: tuple[Role, ...],
    notify: Callable[[Event], None],
    *,
    locks: Sequence[Lock],
    to: Path | None = None,
    keep: int | None = None,
) -> Made:
    """Take a backup under the cluster's lock. Nothing is changed on a host, and hosts that do not answer are left out.

    `keep`: how many backups of this cluster stay in the folder, with the new one; None: all. Failed when no healthy member
    gives a snapshot, or the file is not whole when it is read again.
    """
    folder = to or inventory / keeping.FOLDER
    refuse_folder(folder)
    spec = load(inventory)
    refuse_keyless(inventory)
    session = Session(inventory=inventory, spec=spec, roles=roles, notify=notify, verb="backup")
    with connected(session):
        gevent.joinall([gevent.spawn(session.observe, name) for name in session.hosts], raise_error=True)
        taking.require(session)
        for problem in session.unreachable:
            session.say(f"left out: {problem}")
        session.take_lock()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        # On the disk of the backup, where there must be space for it anyway.
        with scratch(folder, f".taking-{session.plan.cluster}-") as work:
            snapshot = work / SNAPSHOT
            took = taking.take(session, snapshot)
            record = record_of(live_of(session.observed), lineage_copy.read(inventory))
            return _write(session, folder, snapshot, took, record, locks, keep)


def _write(
    session: Session,
    folder: Path,
    snapshot: Path,
    took: Taken,
    record: Lineage | None,
    locks: Sequence[Lock],
    keep: int | None,
) -> Made:
    inventory, now = session.inventory, time.time()
    named, left_out = files.collected(inventory, session.spec)
    store = Store(inventory)
    with store.locked():  # the index and the keys of one moment
        content: dict[str, Path | bytes] = {SNAPSHOT: snapshot, **{name: path.read_bytes() for name, path in named.items()}}
    if record is not None:
        content[INVENTORY + LINEAGE] = record.text().encode()
    manifest = Manifest(
        cluster=session.plan.cluster,
        uid=record.uid if record else "",
        etcd_token=record.etcd_token if record else session.plan.cluster,
        taken=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now)),
        kubewright=version("kubewright"),
        kubernetes=latest(session.plan.release.kubernetes, live_of(session.observed)),
        snapshot=took,
        files={name: archive.kept(what) for name, what in content.items()},
        left_out=left_out,
    )
    path = folder / keeping.name(session.plan.cluster, now)
    archive.write(path, locks, manifest, content)
    session.say(f"{path}: {path.stat().st_size / 1e6:.1f} MB, decrypted again, every sum is right")
    removed = keeping.remove_old(folder, session.plan.cluster, keep, new=path) if keep is not None else []
    return Made(path=path, manifest=manifest, removed=tuple(removed))


def latest(named: str, live: Live) -> str:
    """The release whose programs read everything in etcd: during an upgrade, a later one than cluster.yaml names."""
    found = (host.versions.get("kube-apiserver", "") for host in live.hosts.values())
    return max((named, *filter(None, found)), key=Version.parse)


def refuse_folder(folder: Path) -> None:
    """BadInput when backups can't be put there."""
    if folder.exists() and not folder.is_dir():
        raise BadInput([Problem(where="--to", what=f"no folder ({folder})", allowed="a folder, or a new one", todo="name one")])


def refuse_keyless(inventory: Path) -> None:
    """Failed where there are no keys: without them a snapshot makes no cluster."""
    if missing := [name for name in (INDEX, PRIVATE) if not (inventory / name).is_file()]:
        raise Failed(
            f"{inventory}: {' and '.join(missing)} not there, and a snapshot without the cluster's keys is no backup; "
            "run this on the machine that has them"
        )
