"""Where upstream publishes each binary and its sum. Pure: addresses, and how to read lists of sums.

A mirror serves the same tree under its own base URL: `<mirror>/<upstream host>/<upstream path>`.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from kubewright.artifacts.model import Wanted
from kubewright.errors import Failed

GITHUB = "https://github.com"
API = "https://api.github.com"


@dataclass(frozen=True, kw_only=True)
class Published:
    """A file that upstream publishes, its list of sums, and the binary's path in the file (a tar)."""

    address: str
    sums: str
    """A list of sums, or GitHub's description of the release as JSON, which holds a digest for each file."""
    member: str | None = None
    """The path within the tar; None: the file is the binary."""

    @property
    def file_name(self) -> str:
        return self.address.rpartition("/")[2]


def published(wanted: Wanted) -> Published:
    """Where upstream publishes it. Failed when upstream publishes no such binary."""
    name, version, arch = wanted.name, wanted.version, wanted.arch
    match wanted.component:
        case "kubernetes":
            address = f"https://dl.k8s.io/v{version}/bin/linux/{arch}/{name}"
            return Published(address=address, sums=f"{address}.sha256")
        case "etcd":
            folder = f"{GITHUB}/etcd-io/etcd/releases/download/v{version}"
            stem = f"etcd-v{version}-linux-{arch}"
            return Published(address=f"{folder}/{stem}.tar.gz", sums=f"{folder}/SHA256SUMS", member=f"{stem}/{name}")
        case "containerd":
            folder = f"{GITHUB}/containerd/containerd/releases/download/v{version}"
            address = f"{folder}/containerd-{version}-linux-{arch}.tar.gz"
            return Published(address=address, sums=f"{address}.sha256sum", member=f"bin/{name}")
        case "runc":
            folder = f"{GITHUB}/opencontainers/runc/releases/download/v{version}"
            return Published(address=f"{folder}/runc.{arch}", sums=f"{folder}/runc.sha256sum")
        case "cni" if name == "flannel":
            # GitHub states a digest for each file of a release; this repository publishes sums of its own too, but
            # not for the plain binary.
            return _by_digest("flannel-io/cni-plugin", f"v{version}", f"flannel-{arch}")
        case "cni":
            folder = f"{GITHUB}/containernetworking/plugins/releases/download/v{version}"
            address = f"{folder}/cni-plugins-linux-{arch}-v{version}.tgz"
            return Published(address=address, sums=f"{address}.sha256", member=name)
        case "flannel":
            # flannel publishes no list of sums: GitHub's digest is the only one.
            return _by_digest("flannel-io/flannel", f"v{version}", f"flanneld-{arch}")
        case "coredns":
            folder = f"{GITHUB}/coredns/coredns/releases/download/v{version}"
            address = f"{folder}/coredns_{version}_linux_{arch}.tgz"
            return Published(address=address, sums=f"{address}.sha256", member=name)
        case "crictl":
            folder = f"{GITHUB}/kubernetes-sigs/cri-tools/releases/download/v{version}"
            address = f"{folder}/crictl-v{version}-linux-{arch}.tar.gz"
            return Published(address=address, sums=f"{address}.sha256", member=name)
    raise Failed(f"{wanted}: upstream publishes no such binary; take it from --source gomod or directory")


def _by_digest(repository: str, tag: str, file: str) -> Published:
    return Published(
        address=f"{GITHUB}/{repository}/releases/download/{tag}/{file}",
        sums=f"{API}/repos/{repository}/releases/tags/{tag}",
    )


def through_mirror(address: str, mirror: str | None) -> str:
    """The address to ask: upstream's own, or the mirror's copy."""
    return address if mirror is None else f"{mirror.rstrip('/')}/{address.removeprefix('https://')}"


def sum_for(file_name: str, text: str) -> str | None:
    """The file's SHA-256 in a list of sums, or None. Accepted are: a bare sum, `sum  name` lines (with `*` or a folder
    before the name), and GitHub's JSON. A list that names only other files holds no sum for this one."""
    if text.lstrip().startswith("{"):
        return _digest_in(file_name, text)
    for line in text.splitlines():
        parts = line.split()
        if not parts or not re.fullmatch(r"[0-9a-fA-F]{64}", parts[0]):
            continue
        if len(parts) == 1 or parts[-1].lstrip("*").rpartition("/")[2] == file_name:
            return parts[0].lower()
    return None


def _digest_in(file_name: str, text: str) -> str | None:
    try:
        assets = json.loads(text)["assets"]
        digest = next(asset["digest"] for asset in assets if asset["name"] == file_name)
    except (ValueError, KeyError, TypeError, StopIteration):
        return None
    kind, _, value = str(digest).partition(":")
    return value.lower() if kind == "sha256" and re.fullmatch(r"[0-9a-fA-F]{64}", value) else None
