"""The base of every host: packages, users, folders, sysctls.

SELinux and swap stay unchanged; see docs/decisions/.
"""

from __future__ import annotations

from typing import Any

from kubewright.model.cluster import Node, Plan
from kubewright.observe.observed import SYSCTLS
from kubewright.plan.context import Context
from kubewright.plan.desired import Desired, Directory, File
from kubewright.plan.role import Check, Folder, Role, on_every_host
from kubewright.releases.systems import PACKAGES
from roles.common import sysctls

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


def _modules() -> File:
    # Built into some kernels: the feature counts, so a module that does not load is no error here; the
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
        late=(_modules(), sysctls.file(context.observed.sysctls)) if node.runs_pods else (),
    )


def _kernel(host: Any, _plan: Plan, node: Node) -> None:
    """The kernel's current values: another file in /etc/sysctl.d may contradict ours."""
    if not node.runs_pods:
        return
    said = host.run(f"sysctl {' '.join(SYSCTLS)}").stdout.replace(" ", "").splitlines()
    found = dict(line.split("=", 1) for line in said if "=" in line)
    wrong = [f"{key} is {found.get(key, 'not there')}, not {value}" for key, value in SYSCTLS.items() if found.get(key) != value]
    assert not wrong, (
        f"{'; '.join(wrong)}; kubewright apply sets them; find the file that says otherwise: "
        "grep -r KEY /etc/sysctl.conf /etc/sysctl.d /usr/lib/sysctl.d"
    )


ROLE = Role(
    name="base",
    runs_on=on_every_host,
    folders=(Folder(path="/etc/kubernetes"), Folder(path="/opt/kubewright")),
    paths=("/etc/modules-load.d/kubernetes.conf", "/etc/sysctl.d/99-kubernetes.conf"),
    desired=desired,
    checks=(Check(title="the kernel has the settings that pods' packets need", run=_kernel),),
)
