"""The content of the images made here: pause, coredns, those of add-ons, and the test image agnhost."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

from kubewright.artifacts.images import Image, Member
from kubewright.artifacts.model import Artifact
from kubewright.errors import Failed
from kubewright.releases import Release

BUSYBOX = Path("/bin/busybox")
LOCAL_PATH_HELPER = "1"
"""The version of our own program."""
OURS = ("local-path-helper",)
"""Images that no registry has: built here from our own program, whatever the source of the others is."""
FORMAT = "1"
"""Part of each image's recipe digest: raise it when the recipes below change."""


def references(release: Release) -> dict[str, str]:
    """The reference of each image by its short name, the slowest last."""
    return {
        "pause": f"registry.k8s.io/pause:{release.pause}",
        "coredns": f"registry.k8s.io/coredns/coredns:v{release.coredns}",
        "metrics-server": f"registry.k8s.io/metrics-server/metrics-server:v{release.metrics_server}",
        "traefik": f"docker.io/library/traefik:v{release.traefik}",
        "local-path-provisioner": f"docker.io/rancher/local-path-provisioner:v{release.local_path}",
        "local-path-helper": f"kubewright.invalid/local-path-helper:{LOCAL_PATH_HELPER}",
        "agnhost": f"registry.k8s.io/e2e-test-images/agnhost:{release.agnhost}",
    }


def digest(name: str, binary_sha256: str) -> str:
    """A digest of the image's inputs; cheap, because every run needs it."""
    return hashlib.sha256(f"{FORMAT} {name} {binary_sha256}".encode()).hexdigest()[:16]


def image(name: str, reference: str, binary: Artifact) -> Image:
    """The image of that short name around its binary. Failed when busybox-static is missing for agnhost."""
    own = {"pause": _pause, "coredns": _coredns, "agnhost": _agnhost}
    return own[name](reference, binary) if name in own else _alone(reference, binary)


def _alone(reference: str, binary: Artifact) -> Image:
    """One program on the PATH, as in upstream's images, and a folder for temporary files. Its pods set user and capabilities."""
    path = f"usr/bin/{binary.name}"
    return Image(
        reference=reference,
        arch=binary.arch,
        members=(
            *map(_folder, ("etc", "usr", "usr/bin")),
            Member(path="tmp", mode=0o1777),
            Member(path=path, content=binary.path),
        ),
        entrypoint=(f"/{path}",),
    )


def _folder(path: str) -> Member:
    return Member(path=path)


def _pause(reference: str, binary: Artifact) -> Image:
    return Image(
        reference=reference,
        arch=binary.arch,
        members=(Member(path="pause", content=binary.path),),
        entrypoint=("/pause",),
        user="65535:65535",
    )


def _coredns(reference: str, binary: Artifact) -> Image:
    # Root in the image, unlike upstream's: theirs is a nonroot user with a file capability, an extended attribute that
    # not every importer keeps. The Deployment drops every capability but NET_BIND_SERVICE and mounts / read-only, which
    # a nonroot user without ambient capabilities could not use to bind port 53.
    return Image(
        reference=reference,
        arch=binary.arch,
        members=(Member(path="coredns", content=binary.path), Member(path="etc"), Member(path="tmp", mode=0o1777)),
        entrypoint=("/coredns",),
        ports=("53/tcp", "53/udp"),
    )


def _agnhost(reference: str, binary: Artifact) -> Image:
    """The test image: agnhost, and a shell with the usual tools (`kubectl cp` needs tar)."""
    passwd = b"root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n"
    group = b"root:x:0:\nnobody:x:65534:\n"
    folders = tuple(Member(path=path) for path in ("bin", "etc", "root", "usr", "usr/bin", "usr/sbin", "sbin", "var"))
    return Image(
        reference=reference,
        arch=binary.arch,
        members=(
            *folders,
            Member(path="tmp", mode=0o1777),
            Member(path="etc/passwd", mode=0o644, content=passwd),
            Member(path="etc/group", mode=0o644, content=group),
            Member(path="etc/nsswitch.conf", mode=0o644, content=b"hosts: files dns\n"),
            Member(path="agnhost", content=binary.path),
            *_busybox(binary.arch),
        ),
        entrypoint=("/agnhost",),
    )


def _busybox(arch: str) -> tuple[Member, ...]:
    from kubewright.artifacts.gomod import machine_arch

    if not BUSYBOX.exists():
        raise Failed("agnhost image: needs a static busybox; run: apt-get install -y busybox-static")
    if arch != machine_arch():
        raise Failed(f"agnhost image: this machine's busybox is not {arch}; make the test image on a {arch} machine")
    listed = subprocess.run([str(BUSYBOX), "--list"], capture_output=True, text=True, check=True)
    applets = sorted(set(listed.stdout.split()) - {"busybox"})
    links = (Member(path=f"bin/{applet}", link="busybox") for applet in applets)
    return (Member(path="bin/busybox", content=BUSYBOX.resolve()), *links)
