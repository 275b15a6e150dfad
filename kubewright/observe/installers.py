"""Traces of other installers on a host, as data: one row each, with the way to remove them."""

from __future__ import annotations

from dataclasses import dataclass

DEVICES = "/sys/class/net"


@dataclass(frozen=True, kw_only=True)
class Installer:
    """`traces`: paths (a trailing `*` as the shell takes it) that kubewright never makes before its own record."""

    name: str
    traces: tuple[str, ...]
    todo: str


INSTALLERS = (
    Installer(
        name="kubeadm",
        traces=(
            *(f"/etc/kubernetes/manifests/{n}.yaml" for n in ("etcd", "kube-apiserver", "kube-controller-manager")),
            "/etc/kubernetes/manifests/kube-scheduler.yaml",
            "/etc/kubernetes/bootstrap-kubelet.conf",
            "/etc/kubernetes/kubelet.conf",
            "/etc/kubernetes/pki/ca.crt",
            "/var/lib/kubelet/kubeadm-flags.env",
            # The package's drop-ins: they would change the command line of our unit.
            *(f"/{d}/systemd/system/kubelet.service.d/10-kubeadm.conf" for d in ("etc", "usr/lib")),
        ),
        todo="kubeadm reset, then remove the packages kubeadm and kubelet and what is left of these paths",
    ),
    Installer(
        name="k3s",
        traces=(
            "/etc/rancher/k3s",
            "/var/lib/rancher/k3s",
            "/etc/systemd/system/k3s.service",
            "/etc/systemd/system/k3s-agent.service",
        ),
        todo="k3s-uninstall.sh or k3s-agent-uninstall.sh, then remove what is left of these paths",
    ),
    Installer(
        name="RKE2",
        traces=("/etc/rancher/rke2", "/var/lib/rancher/rke2"),
        todo="rke2-uninstall.sh, then remove what is left of these paths",
    ),
    Installer(
        name="k0s",
        traces=("/etc/k0s", "/var/lib/k0s"),
        todo="k0s stop && k0s reset, then remove what is left of these paths",
    ),
    Installer(name="MicroK8s", traces=("/var/snap/microk8s",), todo="snap remove --purge microk8s"),
    Installer(
        name="kubespray",
        traces=("/etc/etcd.env", "/etc/ssl/etcd", "/etc/kubernetes/kubelet.env", "/etc/kubernetes/kubeadm-config.yaml"),
        todo="its own reset.yml, then remove what is left of these paths",
    ),
    Installer(
        name="kubeasz",
        traces=("/opt/kube/bin", "/etc/kube-lb", "/etc/kubernetes/ssl"),
        todo="ezctl destroy CLUSTER, then remove what is left of these paths",
    ),
    Installer(
        name="an etcd of its own",
        traces=("/var/lib/etcd/member",),
        todo="keep its data elsewhere if it is wanted, stop it, then remove the folder: our member would start with it",
    ),
    Installer(
        name="a pod network",
        traces=tuple(
            f"{DEVICES}/{name}"
            for name in (
                "cni0",
                "flannel.*",
                "flannel-wg",
                "cali*",
                "vxlan.calico",
                "cilium*",
                "weave",
                "kube-ipvs0",
                "kube-bridge",
            )
        ),
        todo="stop what makes it, then ip link delete each of them, or reboot",
    ),
)

TRACES = tuple(trace for installer in INSTALLERS for trace in installer.traces)


def leaves(installer: Installer, path: str) -> bool:
    """Whether `path` is one of its traces."""
    return any(path.startswith(t[:-1]) if t.endswith("*") else path == t for t in installer.traces)
