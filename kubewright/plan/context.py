"""The input of a role's `desired`: the plan, the node, the observed state, certificates, artifacts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import jinja2

from kubewright.artifacts import Artifact, Bundle, ImageArtifact, published_name
from kubewright.artifacts.model import CNI_PLUGINS, Archive
from kubewright.model.certificates import ROWS, Row
from kubewright.model.cluster import Flags, Node, Plan
from kubewright.model.lineage import Lineage
from kubewright.model.places import HOME
from kubewright.observe.observed import Observed
from kubewright.plan.desired import File, Link, Payload, Stored
from kubewright.plan.quoting import unit_argument, yaml_text
from kubewright.plan.together import Together
from kubewright.releases.systems import System, proxy_mode
from pki import trust
from pki.store import Entry

_PACKAGE = Path(__file__).parents[1]
TEMPLATES = next(f for f in (_PACKAGE / "_templates", _PACKAGE.with_name("templates")) if f.is_dir())
"""In the wheel they are inside the package, in a checkout beside it."""


@cache
def _environment() -> jinja2.Environment:
    # Nothing here is HTML. An undefined name is an error, not an empty string in a unit file.
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
        autoescape=False,  # noqa: S701
    )
    environment.filters |= {"unit_argument": unit_argument, "yaml_text": yaml_text}
    return environment


def render(template: str, **values: Any) -> bytes:
    """`templates/<template>`, rendered to the bytes for the host."""
    return _environment().get_template(template).render(**values).encode()


def link_of(binary: str) -> str:
    """The link to the active version of `binary`. CNI plugins lie in a folder of their own."""
    return f"{'/opt/cni/bin' if binary in CNI_PLUGINS else '/usr/local/bin'}/{binary}"


@dataclass(frozen=True, kw_only=True)
class Context:
    """One node of one plan. Pure: reads no host, and no private key."""

    plan: Plan
    node: Node
    observed: Observed
    system: System
    """The row of its operating system."""
    certificates: Mapping[str, Entry]
    """The index, with stand-ins for certificates that are still to be issued."""
    bundle: Bundle
    lineage: Lineage | None = None
    """The new lineage record; None outside a run."""
    joining: frozenset[str] = frozenset()
    """Hosts whose etcd member was added and has not started yet."""
    learning: frozenset[str] = frozenset()
    """Hosts whose etcd member has no vote yet."""
    together: Together = field(default_factory=Together)
    """The observed state of all hosts together."""

    @property
    def acts_for_masters(self) -> bool:
        """Whether this host does the cluster-wide work through the API."""
        return self.node.name == (self.together.master or self.plan.first_master.name)

    @property
    def acts_for_etcd(self) -> bool:
        """Whether this host does the cluster-wide work in etcd."""
        return self.node.name == (self.together.member or self.plan.first_member.name)

    def flags(self, component: str, flags: Flags) -> Mapping[str, str]:
        """`flags` with the host's own flags for `component` over them; None removes a flag."""
        merged = {**flags, **self.node.extra_args.get(component, {})}
        return {name: value for name, value in merged.items() if value is not None}

    def unit_file(self, unit: str, template: str, **values: Any) -> File:
        """`unit` from its template; it restarts when its file changes. CIS 1.1.1-1.1.7 and 4.1.1: only root may read it."""
        return File(path=f"/etc/systemd/system/{unit}", content=render(template, **values), restarts=(unit,), mode=0o600)

    def config(self, path: str, template: str, *, restarts: tuple[str, ...], mode: int = 0o644, **values: Any) -> File:
        return File(path=path, content=render(template, **values), restarts=restarts, mode=mode)

    def authority(self, name: str, path: str, *, restarts: tuple[str, ...] = ()) -> File:
        """The trusted certificates of the authority `name` in the store (or a key pair's public keys), at `path`."""
        return File(path=path, content=trust.bundle(self.certificates, name), restarts=restarts)

    def with_root(self, name: str, path: str, *, restarts: tuple[str, ...] = ()) -> tuple[File, ...]:
        """`trust.anchors` at `path`, for clients that need the root above an authority; None where `authority` is enough."""
        content = trust.anchors(self.certificates, name)
        return () if content == trust.bundle(self.certificates, name) else (File(path=path, content=content, restarts=restarts),)

    def key_pair(self, row: str, *, restarts: tuple[str, ...] = ()) -> tuple[File, File]:
        """This node's certificate of that row of the table, and its key."""
        certificate: Row = ROWS[row]
        name = certificate.stored(self.node)
        entry = self.certificates[name]
        return (
            File(path=f"{certificate.path}.crt", content=entry.certificate.encode(), restarts=restarts),
            File(
                path=f"{certificate.path}.key",
                content=Stored(name=name, sha256=entry.key_sha256),
                owner=certificate.owner,
                group=certificate.owner,
                mode=0o600,
                restarts=restarts,
            ),
        )

    def secret(self, name: str, path: str, *, restarts: tuple[str, ...] = ()) -> File:
        """The store's private file `name`, at `path`."""
        stored = Stored(name=name, sha256=self.certificates[name].key_sha256)
        return File(path=path, content=stored, mode=0o600, restarts=restarts)

    def kubeconfig(self, path: str, user: str, row: str, *, restarts: tuple[str, ...] = ()) -> File:
        """A kubeconfig that names certificate files, which clients reload; it holds no key itself."""
        content = render("kubeconfig.j2", cluster=self.plan.cluster, server=self.plan.local_api, user=user, path=ROWS[row].path)
        return File(path=path, content=content, mode=0o600, restarts=restarts)

    @property
    def proxy_mode(self) -> str:
        """kube-proxy's mode on this host: the spec's, or the one that its kernel supports."""
        return proxy_mode(self.system, self.plan.proxy_mode)

    def payload(self, binary: str) -> Payload:
        """The binary `name`, in its versioned folder."""
        artifact = self.bundle.binary(binary)
        path = f"{HOME}/{binary}/{artifact.version}-{artifact.sha256[:8]}/{binary}"
        kind = "container_runtime_exec_t" if artifact.component in ("containerd", "runc") else "bin_t"
        return self._payload(path, artifact, mode=0o755, selinux_type=kind)

    def reference(self, name: str) -> str:
        """The name that the image has on hosts: manifests use this one (`images.image_repository`)."""
        return self.plan.images.reference(self.bundle.image(name).reference)

    def archive(self, archive: Archive) -> Payload:
        """An archive of images that cluster.yaml names."""
        path = f"{HOME}/archive-{archive.name}/{archive.sha256[:16]}/{archive.name}.tar"
        return Payload(
            path=path,
            sha256=archive.sha256,
            size=archive.size,
            mode=0o644,
            local=archive.zst_path,
            packed=archive.zst_size,
            selinux_type="usr_t",
        )

    def image(self, name: str) -> Payload:
        """The archive of the image whose repository ends in that name (`pause`, `coredns`)."""
        artifact = self.bundle.image(name)
        path = f"{HOME}/image-{name}/{artifact.reference.rpartition(':')[2]}-{artifact.sha256[:8]}/{name}.tar"
        return self._payload(path, artifact, mode=0o644, selinux_type="usr_t")

    def _payload(self, path: str, artifact: Artifact | ImageArtifact, *, mode: int, selinux_type: str) -> Payload:
        mirror = self.plan.hosts_fetch_from
        return Payload(
            path=path,
            sha256=artifact.sha256,
            size=artifact.size,
            mode=mode,
            local=artifact.zst_path,
            packed=artifact.zst_size,
            selinux_type=selinux_type,
            url=f"{mirror}/{published_name(artifact)}" if mirror else "",
        )

    def link(self, binary: str, *, restarts: tuple[str, ...] = ()) -> Link:
        return Link(path=link_of(binary), target=self.payload(binary).path, restarts=restarts)
