"""The data types: wanted artifacts, obtained artifacts, and sources. Pure; no file is read or written here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from kubewright.releases import Release

SourceKind = Literal["auto", "release", "mirror", "directory", "gomod"]
Say = Callable[[str], None]
"""Takes plain progress lines, without a newline."""

KUBERNETES = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy", "kubelet", "kubectl")
ETCD = ("etcd", "etcdctl", "etcdutl")
CONTAINERD = ("containerd", "containerd-shim-runc-v2", "ctr")
CNI = ("bridge", "loopback", "host-local", "portmap", "bandwidth")
CNI_PLUGINS = (*CNI, "flannel")
"""The plugin `flannel` has a version of its own."""
ARCHES = ("amd64", "arm64")


@dataclass(frozen=True, kw_only=True, order=True)
class Wanted:
    """One binary by name. `version` has no leading `v`; `arch` is Go's name for it."""

    component: str
    name: str
    version: str
    arch: str

    def __str__(self) -> str:
        return f"{self.name} {self.version} {self.arch}"

    @property
    def key(self) -> str:
        """A file name of its own."""
        return f"{self.component}-{self.name}-{self.version}-{self.arch}"


@dataclass(frozen=True, kw_only=True)
class Artifact:
    """One binary in the cache. Sums are SHA-256 in hex; sizes are bytes; `sha256` and `size` are of the plain file."""

    component: str
    name: str
    version: str
    arch: str
    says: str
    """The version that the binary itself names; another one only for gomod's CNI plugin `flannel`."""
    sha256: str
    size: int
    path: Path
    zst_path: Path
    """The same bytes, zstd-compressed: hosts get this stream."""
    zst_sha256: str
    zst_size: int
    source: str


@dataclass(frozen=True, kw_only=True)
class ImageArtifact:
    """One image as an archive that `ctr -n k8s.io images import` takes. `sha256` and `size` are of the plain tar."""

    reference: str
    arch: str
    sha256: str
    size: int
    path: Path
    zst_path: Path
    zst_sha256: str
    zst_size: int
    source: str


@dataclass(frozen=True, kw_only=True)
class Archive:
    """One archive of images that a user names, in the cache. `name` is unique among those of a cluster. Sums are SHA-256 in hex;
    sizes are bytes."""

    name: str
    references: tuple[str, ...]
    sha256: str
    size: int
    zst_path: Path
    zst_size: int


@dataclass(frozen=True, kw_only=True)
class SourceConfig:
    """Where artifacts come from. `mirror` is a base URL, `directory` a folder with SHA256SUMS."""

    kind: SourceKind = "auto"
    mirror: str | None = None
    directory: Path | None = None


UNKNOWN = "unknown"
"""The sum of a stand-in: an artifact that is not on this machine, in a preview."""


@dataclass(frozen=True, kw_only=True)
class Missing:
    """The artifacts of a bundle that are not on this machine."""

    arch: str
    names: tuple[str, ...]
    takes: str
    """The work to get them: downloads, or minutes of building."""
    command: str
    """The command that fetches them."""


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """Everything a release needs on one architecture."""

    binaries: tuple[Artifact, ...]
    images: tuple[ImageArtifact, ...]
    missing: Missing | None = None
    """The stand-ins among them."""
    archives: tuple[Archive, ...] = ()
    """The archives of images in cluster.yaml that have images of this architecture."""

    def binary(self, name: str) -> Artifact:
        """The binary of that name; KeyError when there is none. The CNI plugin `flannel` is not `flanneld`."""
        for artifact in self.binaries:
            if artifact.name == name:
                return artifact
        raise KeyError(name)

    def image(self, fragment: str) -> ImageArtifact:
        """The image whose repository's last part is that (`pause`, `coredns`, `agnhost`); KeyError if none is."""
        for image in self.images:
            if image.reference.rpartition(":")[0].rpartition("/")[2] == fragment:
                return image
        raise KeyError(fragment)


def published_name(artifact: Artifact | ImageArtifact) -> str:
    """The file's name below `artifacts.hosts_fetch_from`: the sum of its uncompressed content."""
    return f"{artifact.sha256}.zst"


def catalogue(release: Release, arch: str, *, skydns: bool = True) -> tuple[Wanted, ...]:
    """Every binary of a release, the longest build first (everything waits for Kubernetes). `skydns`: with kube2sky."""
    groups: tuple[tuple[str, str, tuple[str, ...]], ...] = (
        ("kubernetes", release.kubernetes, KUBERNETES),
        ("etcd", release.etcd, ETCD),
        ("containerd", release.containerd, CONTAINERD),
        ("runc", release.runc, ("runc",)),
        ("cni", release.cni_plugins, CNI),
        ("cni", release.cni_flannel, ("flannel",)),
        ("flannel", release.flannel, ("flanneld",)),
        ("coredns", release.coredns, ("coredns",)),
        ("crictl", release.crictl, ("crictl",)),
        *((("kube2sky", release.kube2sky, ("kube2sky",)),) if skydns else ()),
    )
    return tuple(
        Wanted(component=component, name=name, version=version, arch=arch)
        for component, version, names in groups
        for name in names
    )


BUILT_HERE = frozenset({"kube2sky"})
"""Components of our own, which no other publishes: built from Go modules, or from a directory."""


KUBE_BENCH = "0.15.6"


def kube_bench(arch: str) -> tuple[Wanted, Wanted]:
    """The program that the CIS test runs, and its folder of checks as a tar; not installed on hosts."""
    program, checks = (Wanted(component="kube-bench", name=name, version=KUBE_BENCH, arch=arch) for name in ("kube-bench", "cfg"))
    return program, checks


DISTRIBUTION = "3.1.2"


def distribution(arch: str) -> Wanted:
    """The registry that tests run; not installed on hosts."""
    return Wanted(component="distribution", name="registry", version=DISTRIBUTION, arch=arch)


def agnhost(release: Release, arch: str) -> Wanted:
    """The test image's binary; not installed on hosts."""
    return Wanted(component="agnhost", name="agnhost", version=release.agnhost, arch=arch)
