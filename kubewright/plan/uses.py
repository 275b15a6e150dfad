"""The places of each certificate, and the units that restart when it changes, from the roles' desired state. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from kubewright.artifacts import Artifact, Bundle, ImageArtifact, catalogue
from kubewright.artifacts.image_recipes import references
from kubewright.model.cluster import Plan
from kubewright.observe.observed import Observed
from kubewright.plan.context import Context
from kubewright.plan.desired import File, Stored
from kubewright.plan.role import Role
from kubewright.releases import Release
from kubewright.releases import systems as tables
from pki import trust
from pki.store import Entry

ARCHITECTURE = "amd64"
"""Any architecture will do: certificates have the same places on each."""


@dataclass(frozen=True, kw_only=True)
class Use:
    """One file on one host. `restarts`: the units of all roles that want the file."""

    host: str
    path: str
    restarts: tuple[str, ...]


def uses(plan: Plan, roles: Sequence[Role], entries: Mapping[str, Entry], authorities: Sequence[str]) -> dict[str, list[Use]]:
    """By a row's name in the store, the files that hold its certificate. `authorities`: rows whose files hold `trust.bundle`."""
    host = _host()
    shared = {trust.bundle(entries, name): name for name in authorities if name in entries}
    found: dict[str, list[Use]] = defaultdict(list)
    for node in plan.nodes:
        context = Context(
            plan=plan, node=node, observed=host, system=tables.SYSTEMS[0], certificates=entries, bundle=_bundle(node.release)
        )  # fmt: skip
        wanted = [role.desired(context) for role in roles if role.runs_on(node)]
        restarts: dict[tuple[str, str], dict[str, None]] = {}
        for name, file in _certificates([f for d in wanted for f in (*d.files, *d.late)], shared, entries):
            restarts.setdefault((name, file.path), {}).update(dict.fromkeys(file.restarts))
        for (name, path), units in restarts.items():
            found[name].append(Use(host=node.name, path=path, restarts=tuple(units)))
    return dict(found)


def _certificates(files: Sequence[File], shared: Mapping[bytes, str], entries: Mapping[str, Entry]) -> Iterator[tuple[str, File]]:
    """The files with a certificate, by row: each wanted key has its certificate beside it."""
    by_content = {entries[f.content.name].certificate.encode(): f.content.name for f in files if isinstance(f.content, Stored)}
    for file in files:
        if isinstance(file.content, bytes) and (name := shared.get(file.content) or by_content.get(file.content)):
            yield name, file


def _host() -> Observed:
    """No difference between hosts affects the place of a certificate."""
    return Observed(
        os_id="", os_version="", architecture=ARCHITECTURE, kernel="", cgroup=2,
        cgroup_controllers=frozenset(), interfaces={}, hostname="", machine_id="", clock=0,
        memory_kib=0, free_kib={}, swap=False, selinux="", firewalld=False, initial_network_namespace=True,
        lowers_oom_score=True, addresses=(), listening={}, bound={}, packages=frozenset(), users=frozenset(),
        programs=frozenset(), resolv_conf="", has_nameserver=True,
    )  # fmt: skip


def _bundle(release: Release) -> Bundle:
    """The names of all artifacts, without files."""
    none = Path()
    return Bundle(
        binaries=tuple(
            Artifact(component=w.component, name=w.name, version=w.version, arch=w.arch, says=w.version, sha256="", size=0,
                     path=none, zst_path=none, zst_sha256="", zst_size=0, source="")
            for w in catalogue(release, ARCHITECTURE)
        ),
        images=tuple(
            ImageArtifact(reference=reference, arch=ARCHITECTURE, sha256="", size=0, path=none, zst_path=none, zst_sha256="",
                          zst_size=0, source="")
            for reference in references(release).values()
        ),
    )  # fmt: skip
