"""The waves of a cluster, in order. This list is the deploy."""

from __future__ import annotations

from kubewright.plan.wave import Wave, roles_of, wave
from roles.addons.role import ROLE as ADDONS
from roles.apiserver.role import ROLE as APISERVER
from roles.base.role import ROLE as BASE
from roles.binaries.role import role_for as binaries_for
from roles.containerd.role import role_for as containerd_for
from roles.controller_manager.role import ROLE as CONTROLLER_MANAGER
from roles.coredns.role import ROLE as COREDNS
from roles.coredns_certificates.role import ROLE as COREDNS_CERTIFICATES
from roles.departed.role import ROLE as DEPARTED
from roles.etcd.role import ROLE as ETCD
from roles.etcd_users.role import ROLE as ETCD_USERS
from roles.firewall.role import role_for as firewall_for
from roles.flannel.role import ROLE as FLANNEL
from roles.kube2sky.role import ROLE as KUBE2SKY
from roles.kube2sky_rights.role import ROLE as KUBE2SKY_RIGHTS
from roles.kube_proxy.role import ROLE as KUBE_PROXY
from roles.kubelet.role import ROLE as KUBELET
from roles.lineage.role import ROLE as LINEAGE
from roles.load_balancer.role import ROLE as LOAD_BALANCER
from roles.members.role import ROLE as MEMBERS
from roles.metrics_server.role import ROLE as METRICS_SERVER
from roles.nodes.role import ROLE as NODES
from roles.pod_routes.role import ROLE as POD_ROUTES
from roles.rbac.role import ROLE as RBAC
from roles.scheduler.role import ROLE as SCHEDULER
from roles.service_range.role import ROLE as SERVICE_RANGE
from roles.snapshots.role import ROLE as SNAPSHOTS
from roles.traefik.role import ROLE as TRAEFIK
from roles.votes.role import ROLE as VOTES
from roles.workgroups.role import ROLE as WORKGROUPS

CONTAINERD = containerd_for(COREDNS.images)

_SERVE: tuple[Wave, ...] = (
    wave(MEMBERS),
    wave(ETCD),
    wave(VOTES),
    wave(ETCD_USERS),
    wave(SNAPSHOTS),
    wave(LOAD_BALANCER),
    wave(APISERVER),
    wave(RBAC),
    wave(SERVICE_RANGE),
    wave(CONTROLLER_MANAGER, SCHEDULER, title="controllers"),
    wave(CONTAINERD, FLANNEL, KUBELET, KUBE_PROXY, COREDNS_CERTIFICATES, title="kubelets"),
    wave(NODES),
    wave(KUBE2SKY_RIGHTS),
    wave(KUBE2SKY),
    wave(COREDNS),
    wave(METRICS_SERVER, TRAEFIK, title="add-ons' hosts"),
    wave(WORKGROUPS),
    wave(DEPARTED),
    wave(LINEAGE),
    # A broken add-on keeps nothing else from being done.
    wave(ADDONS, last=True),
)
"""Everything that serves."""

COMPONENTS = roles_of(_SERVE)

_FIRST: tuple[Wave, ...] = (
    wave(POD_ROUTES),
    wave(BASE, firewall_for(COMPONENTS), binaries_for(COMPONENTS), title="base"),
)

CLUSTER: tuple[Wave, ...] = (*_FIRST, *_SERVE)
"""The order of an upgrade, too."""

_BACK = ("kubelets", "controllers", APISERVER.name, ETCD.name)
"""A kubelet and the controllers are never newer than an apiserver, and apiservers not than what etcd was made for."""

ROLLBACK: tuple[Wave, ...] = (
    *_FIRST,
    *(one for title in _BACK for one in _SERVE if one.title == title),
    *(one for one in _SERVE if one.title not in _BACK),
)
"""The same waves, in the order back to an earlier release."""

ROLES = roles_of(CLUSTER)
"""Every role, in order."""
