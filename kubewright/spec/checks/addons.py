"""Add-ons: their folders and manifests, their names, the objects that they own, their ports."""

from __future__ import annotations

import re
from collections.abc import Iterator

from kubewright.releases.addons import BUILT_IN
from kubewright.spec import manifests
from kubewright.spec.addons import NAME
from kubewright.spec.model import ClusterSpec, HostSpec
from kubewright.spec.wording import Finding, Place, shown
from kubewright.spec.workgroups import OBJECT

MOST_OBJECTS = 1000
"""The index of an add-on is an annotation, and all of an object's annotations have at most 256 KiB."""
_SYSTEM = "kube-system"
_OURS = frozenset(
    {
        ("", "ServiceAccount", _SYSTEM, "coredns"),
        ("", "ConfigMap", _SYSTEM, "coredns"),
        ("", "ConfigMap", _SYSTEM, "coredns-skydns"),
        ("", "ConfigMap", _SYSTEM, "extension-apiserver-authentication"),
        ("", "ConfigMap", _SYSTEM, "kubewright"),
        ("", "Service", _SYSTEM, "kube-dns"),
        ("", "Service", "default", "kubernetes"),
        ("apps", "Deployment", _SYSTEM, "coredns"),
        ("policy", "PodDisruptionBudget", _SYSTEM, "coredns"),
        ("rbac.authorization.k8s.io", "ClusterRole", "", "system:coredns"),
        ("rbac.authorization.k8s.io", "ClusterRoleBinding", "", "system:coredns"),
        ("rbac.authorization.k8s.io", "ClusterRoleBinding", "", "kubeadm:cluster-admins"),
        ("networking.k8s.io", "ServiceCIDR", "", "kubernetes"),
    }
)
"""The objects that kubewright, or Kubernetes itself, applies in every cluster."""


def addons_on(spec: ClusterSpec, host: HostSpec) -> frozenset[str]:
    """The built-in add-ons that take ports of the host. The metrics server is on masters, whose addresses kubelets admit;
    Traefik is on every node whose taints admit it."""
    named = {addon.name for addon in spec.addons if not addon.own}
    master_alone = "master" in host.roles and "worker" not in host.roles and bool(spec.workers)
    tainted = master_alone if host.taints is None else any(not t.endswith(":PreferNoSchedule") for t in host.taints)
    on = {
        "metrics-server": "master" in host.roles,
        "traefik": bool({"master", "worker"} & set(host.roles)) and not tainted,
    }
    return frozenset(name for name, runs in on.items() if runs and name in named)


def names_apart(spec: ClusterSpec) -> Iterator[Finding]:
    first: dict[str, str] = {}
    for number, addon in enumerate(spec.addons):
        at = ("addons", number)
        if addon.own and not re.fullmatch(NAME, addon.name):
            allowed = "a folder whose name has lower-case letters, digits and -, at most 63"
            what = f"a folder name that is no label value ({shown(addon.name)})"
            yield Finding(at=at, what=what, allowed=allowed, todo="rename the folder")
        elif addon.own and addon.name in BUILT_IN:
            what = f"a folder with the name of a built-in add-on ({addon.name})"
            yield Finding(at=at, what=what, allowed=f"any name but {', '.join(BUILT_IN)}", todo="rename the folder")
        elif addon.name in first:
            same = first[addon.name] == str(addon)
            what = f"an add-on that is named twice ({addon})" if same else f"two folders with the same name ({addon.name})"
            yield Finding(at=at, what=what, allowed="each name once", todo="remove this line, or rename its folder")
        first.setdefault(addon.name, str(addon))


def _of_workgroup(name: str) -> tuple[tuple[str, str, str, str], ...]:
    """Its quota and limits too where it has none: it may get them later. Its RoleBindings are called `kubewright:`."""
    return ("", "Namespace", "", name), ("", "ResourceQuota", name, OBJECT), ("", "LimitRange", name, OBJECT)


def manifests_usable(spec: ClusterSpec) -> Iterator[Finding]:
    """Every object of every add-on, and that each has one owner."""
    owners = {ref: f"the workgroup {group.name}" for group in spec.workgroups for ref in _of_workgroup(group.name)}
    for number, addon in enumerate(spec.addons):
        at: Place = ("addons", number)
        if addon in spec.addons[:number]:
            continue
        found, problems = manifests.read(addon.folder)
        for problem in problems:
            what = f"{problem.where}: {problem.what}"
            yield Finding(at=at, what=what, allowed=problem.allowed, todo=problem.todo)
        if len(found) > MOST_OBJECTS:
            what = f"more than {MOST_OBJECTS} objects ({addon}: {len(found)})"
            yield Finding(at=at, what=what, allowed=f"up to {MOST_OBJECTS} in one add-on", todo="divide it into several folders")
        for each in found:
            _, kind, namespace, name = each.ref
            text = f"{kind} {f'{namespace}/' if namespace else ''}{name}"
            own = f"the add-on {addon.name}"
            owner = owners.setdefault(each.ref, own)
            index = each.ref[:3] == ("", "ConfigMap", _SYSTEM) and name.startswith("addon-")
            if each.ref in _OURS or index or name.startswith("kubewright:"):
                what, allowed = f"{each.where}: {text} is an object of the cluster itself", "objects that only this add-on has"
                yield Finding(at=at, what=what, allowed=allowed, todo="remove it from the manifest, or give it another name")
            elif owner != own:
                what = f"{each.where}: {text} is an object of {owner} too"
                yield Finding(at=at, what=what, allowed="each object in one of them", todo="remove it from one of them")


def addon_ports_free(spec: ClusterSpec) -> Iterator[Finding]:
    for name in sorted({name for host in spec.hosts for name in addons_on(spec, host)}):
        number = next(number for number, addon in enumerate(spec.addons) if addon.name == name)
        first, last = map(int, spec.network.node_ports.split("-"))
        for port in BUILT_IN[name].ports:
            if port == spec.api.port:  # on masters the apiserver has it, on other hosts the load balancer
                what = f"{name} takes a port that is in use ({port}: api.port)"
                todo = "choose another api.port, or remove the add-on"
                yield Finding(at=("addons", number), what=what, allowed="an add-on whose ports are free", todo=todo)
            if first <= port <= last:
                what, todo = f"{name} takes a port in network.node_ports ({port})", "choose a range like 30000-32767"
                yield Finding(at=("addons", number), what=what, allowed="an add-on whose ports are free", todo=todo)
