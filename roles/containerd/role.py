"""containerd, runc and the CNI plugins, and the images that need no registry."""

from __future__ import annotations

from typing import Any

from kubewright.artifacts.model import CNI_PLUGINS, Archive
from kubewright.model.cluster import CONTAINERD_STREAM_PORT, Node, Plan
from kubewright.model.runtime import CONTAINERD
from kubewright.plan.context import Context, render
from kubewright.plan.desired import Desired, Directory, File, Unit
from kubewright.plan.role import Check, Folder, Port, Role, on_kubelets
from kubewright.releases.addons import images_of
from roles.containerd import registries

UNIT = CONTAINERD.unit
PAUSE = "pause"
_OPT = ("/opt/containerd", "/opt/containerd/bin", "/opt/containerd/lib")
"""containerd makes them at its start [containerd: plugins/services/opt]."""
IMPORTED = 4
"""The size of an image in containerd: its layers packed, and unpacked, which is about three times as much if they are
compressed."""


def _image(context: Context, name: str) -> File:
    """Imported once; the file is the evidence, and names the image that was there before."""
    payload, reference = context.image(name), context.reference(name)
    made = context.bundle.image(name).reference
    return File(
        path=f"/etc/containerd/images/{name}",
        content=f"{reference} {payload.sha256}\n".encode(),
        apply=render(CONTAINERD.importer, reference=reference, made=made, archive=payload.path, name=name).decode(),
        fills=(CONTAINERD.state[0], IMPORTED * payload.size),
        title=f"import image {reference}",
    )


def _archive(context: Context, archive: Archive) -> File:
    """An archive of a user, imported again when its content changes. The file names its images."""
    payload = context.archive(archive)
    return File(
        path=f"/etc/containerd/images/archive-{archive.name}",
        content="".join(f"{reference} {archive.sha256}\n" for reference in archive.references).encode(),
        apply=render(CONTAINERD.archiver, archive=payload.path, references=archive.references).decode(),
        fills=(CONTAINERD.state[0], IMPORTED * archive.size),
        title=f"import images {', '.join(archive.references)}",
    )


def _desired(context: Context, images: tuple[str, ...]) -> Desired:
    return Desired(
        directories=(
            Directory(path="/etc/containerd"),
            Directory(path="/etc/containerd/images"),
            Directory(path="/etc/cni/net.d"),
            Directory(path="/opt/cni/bin"),
            *registries.directories(context.plan.images),
        ),
        files=(
            context.config(
                "/etc/containerd/config.toml",
                "containerd/config.toml.j2",
                restarts=(UNIT,),
                sandbox=context.reference(PAUSE),
                restrict_oom_score=not context.observed.lowers_oom_score,
                stream_port=CONTAINERD_STREAM_PORT,
                selinux=context.observed.selinux != "disabled",
            ),
            context.config("/etc/crictl.yaml", "containerd/crictl.yaml.j2", restarts=(), runtime=CONTAINERD),
            context.unit_file(UNIT, "containerd/containerd.service.j2"),
            *registries.files(context.plan.images),
        ),
        links=(
            context.link("containerd", restarts=(UNIT,)),
            # Started for every pod: the next pod has the new one.
            *(context.link(b) for b in ("containerd-shim-runc-v2", "ctr", "runc", "crictl", *CNI_PLUGINS)),
        ),
        units=(Unit(name=UNIT, ready="/usr/local/bin/ctr version >/dev/null"),),
        late=(
            *(_image(context, name) for name in images),
            *(_archive(context, archive) for archive in context.bundle.archives),
        ),
    )


def ports(_plan: Plan, _node: Node) -> tuple[Port, ...]:
    return (Port(number=CONTAINERD_STREAM_PORT, process="containerd", addresses=("127.0.0.1",)),)


def _answers(host: Any, _plan: Plan, _node: Node) -> None:
    answer = host.run("/usr/local/bin/ctr version")
    assert answer.rc == 0, answer.stderr


def role_for(images: tuple[str, ...]) -> Role:
    """The role that imports `images`, those of the plan's add-ons, and the one that every pod's sandbox has."""
    return Role(
        name="containerd",
        runs_on=on_kubelets,
        pods_need=True,
        after=("binaries",),
        images=(PAUSE,),
        binaries=("containerd", "containerd-shim-runc-v2", "ctr", "runc", "crictl", *CNI_PLUGINS),
        units=(UNIT,),
        folders=(
            Folder(path="/etc/containerd"),
            *(Folder(path=path, holds="data") for path in (*CONTAINERD.state, "/var/lib/cni")),
            # Other programs that use CNI or containerd have theirs in these.
            Folder(path="/etc/cni/net.d", shared=True),
            Folder(path="/opt/cni", shared=True),
            *(Folder(path=path, holds="data", shared=True) for path in ("/etc/cni", "/opt/cni/bin", *_OPT)),
        ),
        paths=("/etc/crictl.yaml",),
        desired=lambda context: _desired(context, (PAUSE, *images, *images_of(addon.name for addon in context.plan.addons))),
        ports=ports,
        checks=(
            Check(title="answers on its socket", run=_answers),
            Check(title="registries and mirrors answer", run=registries.answer),
        ),
    )
