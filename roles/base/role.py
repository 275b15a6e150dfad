"""What every host needs before any component: packages, users, folders, sysctls, the firewall's openings.

SELinux and swap are left as the host has them; see docs/decisions/.
"""

from __future__ import annotations

from kubewright.plan.context import Context, render
from kubewright.plan.desired import Desired, Directory, File
from kubewright.plan.model import Node, Plan
from kubewright.plan.role import Check, Role, on_every_host
from roles.base.tables import PACKAGES

DIRECTORIES = (
    Directory(path="/opt/kubewright"),
    Directory(path="/var/lib/kubewright", mode=0o700),
    Directory(path="/var/lib/kubewright/started", mode=0o700),
)
ETCD_DIRECTORIES = (
    Directory(path="/etc/etcd"),
    Directory(path="/etc/etcd/pki"),
    # CIS 1.1.11 and 1.1.12
    Directory(path="/var/lib/etcd", owner="etcd", group="etcd", mode=0o700),
)
KUBERNETES_DIRECTORIES = (
    Directory(path="/etc/kubernetes"),
    Directory(path="/etc/kubernetes/pki"),
    Directory(path="/var/lib/kubelet", mode=0o700),
)


def _packages(context: Context) -> tuple[str, ...]:
    rows = PACKAGES[context.system.family]
    return tuple(package for program, package, _ in rows if program not in context.observed.programs)


def _sysctls() -> File:
    return File(
        path="/etc/sysctl.d/99-kubernetes.conf",
        content=render("base/99-kubernetes.conf.j2"),
        apply='sysctl -q -p "$new"',
        title="set the sysctls that pods need (/etc/sysctl.d/99-kubernetes.conf)",
    )


def _modules() -> File:
    # Built into some kernels: what counts is the feature, so a module that does not load is no error here; the
    # sysctls above and flannel's device are.
    return File(
        path="/etc/modules-load.d/kubernetes.conf",
        content=b"br_netfilter\noverlay\nvxlan\nnf_conntrack\n",
        apply='while read -r m; do modprobe -q "$m" || true; done < "$new"',
        title="load the kernel modules that pods need (/etc/modules-load.d/kubernetes.conf)",
    )


def desired(context: Context) -> Desired:
    node = context.node
    directories = (
        *DIRECTORIES,
        *(ETCD_DIRECTORIES if node.is_etcd else ()),
        *(KUBERNETES_DIRECTORIES if node.runs_pods else ()),
    )
    return Desired(
        packages=_packages(context),
        users=("etcd",) if node.is_etcd else (),
        directories=directories,
        late=(_modules(), _sysctls()) if node.runs_pods else (),
    )


def _forwarding(host: object, _plan: Plan, node: Node) -> None:
    if node.runs_pods:
        assert host.sysctl("net.ipv4.ip_forward") == 1, "net.ipv4.ip_forward is not 1"  # type: ignore[attr-defined]


ROLE = Role(
    name="base",
    runs_on=on_every_host,
    desired=desired,
    checks=(Check(title="forwards packets between pods", run=_forwarding),),
)
