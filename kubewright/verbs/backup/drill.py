"""`kubewright restore --drill`: proves a backup on this machine. The restored etcd's keys are counted and compared with the
backup's; then an apiserver with the backup's keys lists every object, which decrypts every Secret."""

from __future__ import annotations

import datetime as dt
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx

from kubewright.artifacts import Cache, SourceConfig, catalogue, obtain
from kubewright.artifacts.gomod import machine_arch
from kubewright.backup import archive
from kubewright.backup.age import Opener
from kubewright.backup.manifest import INVENTORY, SNAPSHOT, Manifest, counted
from kubewright.backup.scratch import scratch
from kubewright.errors import Failed
from kubewright.model.build import make_plan
from kubewright.model.certificates import leaves
from kubewright.model.cluster import Plan
from kubewright.releases import release_for
from kubewright.spec import ClusterSpec, load
from kubewright.spec.checks.authorities import external_cas
from kubewright.spec.document import parse
from kubewright.spec.load import FILE
from kubewright.verbs.backup.loopback import PROGRAMS, Loopback, running
from kubewright.verbs.backup.seeding import BUMP
from pki import decisions
from pki.authorities import SERVICE_ACCOUNT, authorities
from pki.store import Store
from pki.vault import Vault, password_from

SAME = ("configmaps", "namespaces", "pods", "secrets", "serviceaccounts")
"""Resources that etcd's keys and the API call the same."""
_METADATA = {"Accept": "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"}


@dataclass(frozen=True, kw_only=True)
class Drilled:
    """`counts`: by resource, in the backup and after its restore. `listed` of `kinds`: what the API could list."""

    counts: Mapping[str, tuple[int, int]]
    listed: int
    kinds: int
    seconds: float
    problems: tuple[str, ...]


def drill(path: Path, openers: Sequence[Opener], say: Callable[[str], None], *, inventory: Path | None = None) -> Drilled:
    """Restore `path` on loopback, and compare. `inventory`: where its cluster.yaml names the password of the vault, if
    the backup's keys are in one.

    Failed when this machine can't, or etcd or the apiserver does not serve. Everything is removed afterwards.
    """
    if not sys.platform.startswith("linux"):
        raise Failed("a drill runs etcd and kube-apiserver here, which needs Linux; run it on another machine")
    began = time.monotonic()
    with scratch(Path(tempfile.gettempdir()), "kubewright-drill-") as backup:
        manifest = archive.extract(path, openers, backup)
        say(f"{path}: whole; taken {manifest.taken}, {manifest.snapshot.keys} keys at revision {manifest.snapshot.revision}")
        spec = _spec(backup / INVENTORY)
        plan, store = make_plan(spec), Store(backup / INVENTORY, Vault(password_from(_vault_password(inventory))))
        _renew(spec, plan, store)
        with running(backup / "run", plan, store, programs(manifest.kubernetes, say)) as loopback:
            loopback.restore(backup / SNAPSHOT, f"--bump-revision={BUMP}", "--mark-compacted")
            loopback.start_etcd()
            after = counted(loopback.ctl("get", "/registry/", "--prefix", "--keys-only"))
            say(f"etcd serves the restored data: {sum(after.values())} objects")
            loopback.start_api()
            say("the API serves")
            listed, silent = _listed(loopback)
        return _compared(manifest, after, listed, silent, time.monotonic() - began)


def _compared(
    manifest: Manifest, after: Mapping[str, int], listed: Mapping[str, int], silent: Mapping[str, str], seconds: float
) -> Drilled:
    before = manifest.snapshot.counts
    counts = {name: (before.get(name, 0), after.get(name, 0)) for name in sorted({*before, *after})}
    problems = [f"{name}: {was} in the backup, {now} restored" for name, (was, now) in counts.items() if was != now]
    problems += [
        f"{name}: etcd has {after[name]}, the API lists {listed.get(name, 0)}"
        for name in SAME
        if after.get(name, 0) > listed.get(name, 0) and name not in silent
    ]
    # An aggregated API has no server here, and the kinds of an add-on may need its webhook.
    problems += [f"{name}: the API does not list it ({why})" for name, why in silent.items() if "." not in name]
    return Drilled(counts=counts, listed=len(listed), kinds=len(listed) + len(silent), seconds=seconds, problems=tuple(problems))


def programs(kubernetes: str, say: Callable[[str], None]) -> dict[str, Path]:
    """The programs of that release for this machine, from the cache or fetched."""
    wanted = [item for item in catalogue(release_for(kubernetes), machine_arch()) if item.name in PROGRAMS]
    found = obtain(wanted, SourceConfig(kind="auto"), Cache.default(), say)
    return {artifact.name: artifact.path for artifact in found}


def _spec(inventory: Path) -> ClusterSpec:
    """Unchecked: it was checked when the backup was taken, and the logins that it names are not here."""
    return ClusterSpec.model_validate(parse((inventory / FILE).read_bytes(), name=FILE).data, context={"folder": inventory})


def _vault_password(inventory: Path | None) -> Path | None:
    if inventory is None or not (inventory / FILE).is_file():
        return None
    return load(inventory).secrets.password_file


def _renew(spec: ClusterSpec, plan: Plan, store: Store) -> None:
    """In the copy only: an old backup has certificates that have expired since."""
    three = authorities(external_cas(spec.pki))
    decisions.carry_out(three, leaves(plan), (SERVICE_ACCOUNT,), store, plan.certificates, dt.datetime.now(dt.UTC))


def _listed(loopback: Loopback) -> tuple[dict[str, int], dict[str, str]]:
    """The number of objects of each kind that the API lists, and why it does not list the others."""
    found, silent = {}, {}
    with loopback.client() as client:
        for group, path in _versions(client):
            for resource in _resources(client, path):
                name = f"{resource}.{group}" if group else resource
                try:
                    found[name] = _count(client, f"{path}/{resource}")
                except (httpx.HTTPError, ValueError) as error:
                    silent[name] = str(error)
    return found, silent


def _versions(client: httpx.Client) -> Iterator[tuple[str, str]]:
    yield "", "/api/v1"
    for group in client.get("/apis").raise_for_status().json()["groups"]:
        yield group["name"], f"/apis/{group['preferredVersion']['groupVersion']}"


def _resources(client: httpx.Client, path: str) -> list[str]:
    answer = client.get(path)
    if answer.status_code != 200:  # aggregated, and its server is not here
        return []
    return [r["name"] for r in answer.json()["resources"] if "list" in r["verbs"] and "/" not in r["name"]]


def _count(client: httpx.Client, path: str) -> int:
    count, onward = 0, ""
    while True:
        answer = client.get(path, params={"limit": "500", **({"continue": onward} if onward else {})}, headers=_METADATA)
        if answer.status_code != 200:
            raise ValueError(f"status {answer.status_code}: {answer.text[:200]}")
        said = answer.json()
        count += len(said.get("items") or ())
        if not (onward := said["metadata"].get("continue", "")):
            return count
