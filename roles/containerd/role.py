"""containerd, runc and the CNI plugins, and the images that need no registry."""

from __future__ import annotations

from typing import Any

from kubewright.model.cluster import CONTAINERD_STREAM_PORT, Node, Plan
from kubewright.plan.context import Context, render
from kubewright.plan.desired import Desired, Directory, File, Unit
from kubewright.plan.role import Check, Port, Role, on_kubelets

UNIT = "containerd.service"
CNI = ("bridge", "loopback", "host-local", "portmap", "bandwidth", "flannel")
IMAGES = ("pause", "coredns")
IMPORTED = 4
"""The size of an image in containerd: its layers packed, and unpacked, which is about three times as much if they are
compressed."""


def _image(context: Context, name: str) -> File:
    """Imported once; the file is the evidence, and names the image that was there before."""
    payload, reference = context.image(name), context.bundle.image(name).reference
    return File(
        path=f"/etc/containerd/images/{name}",
        content=f"{reference} {payload.sha256}\n".encode(),
        apply=render("containerd/import.sh.j2", reference=reference, archive=payload.path, name=name).decode(),
        fills=("/var/lib/containerd", IMPORTED * payload.size),
        title=f"import image {reference}",
    )


def desired(context: Context) -> Desired:
    return Desired(
        directories=(
            Directory(path="/etc/containerd"),
            Directory(path="/etc/containerd/images"),
            Directory(path="/etc/cni/net.d"),
            Directory(path="/opt/cni/bin"),
        ),
        files=(
            context.config(
                "/etc/containerd/config.toml",
                "containerd/config.toml.j2",
                restarts=(UNIT,),
                sandbox=context.bundle.image("pause").reference,
                restrict_oom_score=not context.observed.lowers_oom_score,
                stream_port=CONTAINERD_STREAM_PORT,
                selinux=context.observed.selinux != "disabled",
            ),
            context.config("/etc/crictl.yaml", "containerd/crictl.yaml.j2", restarts=()),
            context.unit_file(UNIT, "containerd/containerd.service.j2"),
        ),
        links=(
            context.link("containerd", restarts=(UNIT,)),
            # Started for every pod, so the next pod gets the new one.
            *(context.link(b) for b in ("containerd-shim-runc-v2", "ctr", "runc", "crictl")),
            *(context.link(b, folder="/opt/cni/bin") for b in CNI),
        ),
        units=(Unit(name=UNIT, ready="/usr/local/bin/ctr version >/dev/null"),),
        late=tuple(_image(context, name) for name in IMAGES),
    )


def ports(_plan: Plan, _node: Node) -> tuple[Port, ...]:
    return (Port(number=CONTAINERD_STREAM_PORT, process="containerd", addresses=("127.0.0.1",)),)


def _answers(host: Any, _plan: Plan, _node: Node) -> None:
    answer = host.run("/usr/local/bin/ctr version")
    assert answer.rc == 0, answer.stderr


ROLE = Role(
    name="containerd",
    runs_on=on_kubelets,
    pods_need=True,
    after=("binaries",),
    binaries=("containerd", "containerd-shim-runc-v2", "ctr", "runc", "crictl", *CNI),
    units=(UNIT,),
    desired=desired,
    ports=ports,
    checks=(Check(title="answers on its socket", run=_answers),),
)
