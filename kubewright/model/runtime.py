"""Container runtimes, as data: what the kubelet, the import of images and a reset must know of each."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Runtime:
    """One container runtime that speaks CRI."""

    unit: str
    socket: str
    """Where the kubelet and crictl reach it: an absolute path."""
    state: tuple[str, ...]
    """Its folders of data, under which its containers' mounts lie."""
    shim: str
    """The program, by its path, that outlives the runtime with each pod."""
    importer: str
    """A template: shell that imports the archive of an image, so that pods can use it without a registry."""
    archiver: str
    """The same for an archive of a user, with any number of images."""


CONTAINERD = Runtime(
    unit="containerd.service",
    socket="/run/containerd/containerd.sock",
    state=("/var/lib/containerd", "/run/containerd"),
    shim="/usr/local/bin/containerd-shim-runc-v2",
    importer="containerd/import.sh.j2",
    archiver="containerd/import-archive.sh.j2",
)
