"""A backup and the inventory's folder: whether they belong together, and what the folder gets. Nothing is overwritten."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from kubewright import disk
from kubewright.backup.manifest import INVENTORY, Manifest
from kubewright.errors import Problem, Refused
from kubewright.model.lineage import FILE as LINEAGE
from kubewright.releases import Release
from kubewright.releases.version import Version
from kubewright.run import lineage_copy
from kubewright.spec import load
from kubewright.spec.load import FILE
from pki import encryption
from pki.store import INDEX, PRIVATE, Entry, Store

_PUBLIC = (FILE, INDEX, LINEAGE)
_STORE = (INDEX, PRIVATE)


def refuse(inventory: Path, backup: Path, manifest: Manifest) -> None:
    """Refused, with every reason, when the backup is not of the inventory's cluster or their keys do not fit.

    `backup`: the folder with the backup's files. BadInput when cluster.yaml can't be used.
    """
    if found := [*_identity(inventory, manifest), *_keys(inventory, backup / INVENTORY)]:
        raise Refused(found)


def _identity(inventory: Path, manifest: Manifest) -> Iterator[Problem]:
    todo = "name a backup of this cluster, or restore into a new folder"
    if (inventory / FILE).exists() and (name := load(inventory).name) != manifest.cluster:
        yield Problem(where="restore", what=f"a backup of another cluster ({manifest.cluster})", allowed=name, todo=todo)
        return
    record = lineage_copy.read(inventory)
    if record is not None and record.uid and manifest.uid and record.uid != manifest.uid:
        yield Problem(
            where="restore",
            what=f"a backup of another cluster of the same name (the UID of its kube-system is {manifest.uid})",
            allowed=f"{record.uid}, as {inventory / LINEAGE} says",
            todo=todo,
        )


def _keys(inventory: Path, backup: Path) -> Iterator[Problem]:
    there = [name for name in _STORE if (inventory / name).exists()]
    if not there:
        return
    todo = "restore into a new folder with a copy of cluster.yaml: it gets the backup's keys"
    if missing := [name for name in _STORE if name not in there]:
        yield Problem(
            where=str(inventory),
            what=f"{', '.join(there)} is there, and {', '.join(missing)} is not",
            allowed="both, or none: then the backup's are taken",
            todo=todo,
        )
        return
    ours, theirs = (_names(Store(folder).entries) for folder in (inventory, backup))
    if lost := sorted(theirs - ours):
        yield Problem(
            where=str(inventory / PRIVATE),
            what=f"the key that the backup's Secrets are encrypted with is not there ({', '.join(lost)})",
            allowed="a store that has it: none could be read otherwise",
            todo=todo,
        )


def refuse_release(release: Release, manifest: Manifest) -> None:
    """Refused when `release`, that of cluster.yaml, can't read the backup's data: nothing would start on it.

    It is the release of the backup, or the next minor one [kubernetes.io: version skew policy]. An etcd does not start with the
    data of a later minor one.
    """
    had, has = Version.parse(manifest.kubernetes), release.version
    data = Version.parse(manifest.snapshot.version) if manifest.snapshot.version else None
    newer = data is not None and data.line != (now := Version.parse(release.etcd)).line and data > now
    told = f"the backup is of Kubernetes {had}, with data of etcd {data.line}" if data else f"the backup is of Kubernetes {had}"
    if newer or (had.line != has.line and had > has):
        what, todo = f"{has} is older than the backup ({told})", f'write kubernetes: "{had}" there'
        if newer and had.line == has.line:
            todo = "name the later release there: that to which the cluster was being upgraded"
    elif (has.major, has.minor) > (had.major, had.minor + 1):
        what = f"{has} is more than one minor release later than the backup ({told})"
        todo = f'write kubernetes: "{had}" there; upgrade the restored cluster: docs/runbooks/upgrade.md'
    else:
        return
    raise Refused([Problem(where="cluster.yaml kubernetes", what=what, allowed="the backup's or the next minor one", todo=todo)])


def _names(entries: Mapping[str, Entry]) -> frozenset[str]:
    names = encryption.providers(entries).names if encryption.ROW in entries else ()
    return frozenset(names) - {encryption.IDENTITY}


def fill(inventory: Path, backup: Path, manifest: Manifest) -> list[str]:
    """Put the backup's files where there are none. Returns their names."""
    new = []
    inventory.mkdir(mode=0o755, parents=True, exist_ok=True)
    for name in sorted(n.removeprefix(INVENTORY) for n in manifest.files if n.startswith(INVENTORY)):
        target = inventory / name
        if not target.exists():
            disk.replace(target, (backup / INVENTORY / name).read_bytes(), mode=0o644 if name in _PUBLIC else 0o600)
            new.append(name)
    with Store(inventory).locked():  # it hides the keys from git
        return new
