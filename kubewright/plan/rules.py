"""The effect of an edit of each setting of cluster.yaml on a live cluster: one row for each kind of edit. Data.

`transition` decides with these rows, and docs/changing-a-cluster.md is made from them. A setting without a row fails a test.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Kind(enum.StrEnum):
    """The reaction of `apply` to a difference."""

    PLAIN = "plain"
    ROLLING = "rolling"
    VERB = "another command"
    REFUSED = "refused"


class Edit(enum.StrEnum):
    """The way in which a setting differs from the live cluster."""

    CHANGED = "changed"
    ADDED = "a host is added"
    REMOVED = "a host that still runs is removed"
    LOST = "a host that is not Ready is removed"
    MEMBERS = "the members of etcd change"
    WIREGUARD = "to or from wireguard"
    WIDER = "a wider range that begins at the same address"
    PATCH = "a later patch release"
    UP = "another minor release, later"
    DOWN = "an earlier release"
    ETCD_UP = "a later etcd with the same release"
    ETCD_DOWN = "an earlier etcd with the same release"


@dataclass(frozen=True, kw_only=True)
class Rule:
    """One kind of edit. `effect`: what it does, or why it is refused; `way`: what to do instead.

    `way` may name {was}, {wanted}, {where} and {release}, the one of cluster.yaml. `keeps`: only the cluster's own value is
    allowed.
    """

    setting: str
    """Its place in cluster.yaml. `*` stands for all the settings below it."""
    edit: Edit = Edit.CHANGED
    kind: Kind
    title: str = ""
    effect: str
    way: str = ""
    keeps: bool = True


_ANEW = "put {was} back; to get {wanted}, make a second cluster, move the workloads to it, then reset this one"
_REMOVE = "put {where} back into cluster.yaml; to remove it: kubewright node remove {where} -i INVENTORY"

_MADE_WITH = tuple(
    Rule(setting=setting, kind=Kind.REFUSED, title="can't change on a live cluster", effect=effect, way=_ANEW)
    for setting, effect in (
        ("name", "etcd's members and every kubeconfig carry the cluster's name"),
        ("network.services", "Services keep their addresses, and the apiservers' certificates would no longer name theirs"),
        ("network.pods", "nodes and pods keep their addresses, and flannel would give out others"),
        ("network.pod_prefix_length", "nodes keep their subnets, and flannel would give out others of another size"),
        ("network.domain", "tokens of service accounts carry it, and every pod's DNS search list"),
        ("network.dns", "the Service kube-dns keeps its address, and running pods keep asking it"),
        ("api.port", "kubeconfigs, load balancers and the Service kubernetes use the old port until each is changed"),
    )
)
_WIDER = Rule(
    setting="network.services",
    edit=Edit.WIDER,
    kind=Kind.ROLLING,
    title="a wider range",
    effect="a ServiceCIDR adds it; apiservers and controller-managers restart, one at a time; it does not get narrower again",
)
_BACKEND = (
    Rule(
        setting="network.backend",
        kind=Kind.ROLLING,
        title="another backend",
        effect="every host gets direct routes to the pods of the others; flannel restarts, on a tenth of the hosts at once; "
        "then the routes go; no pod is cut off",
    ),
    Rule(
        setting="network.backend",
        edit=Edit.WIREGUARD,
        kind=Kind.REFUSED,
        title="can't change on a live cluster",
        effect="packets of pods would travel unencrypted, or not at all, until all hosts have the new backend",
        way=_ANEW,
    ),
)
_HOSTS = (
    Rule(
        setting="hosts[].name",
        kind=Kind.REFUSED,
        title="can't get another name on a live cluster",
        effect="kubelet would register a second node and stop every pod of the first one",
        way="put the name {was} back; to rename a host: kubewright node remove, then kubewright node add under its new name",
    ),
    Rule(
        setting="hosts[].address",
        kind=Kind.REFUSED,
        title="can't get another address on a live cluster",
        effect="etcd's member list, certificates and the other hosts keep the old one",
        way="give the host its address {was} back, in cluster.yaml and on the host; "
        "to move a host: kubewright node remove, then kubewright node add at its new address",
    ),
    Rule(
        setting="hosts[].roles",
        kind=Kind.REFUSED,
        title="can't get other roles on a live cluster",
        effect="its components would be stopped without a drain, or join without a check",
        way="put its roles back, so that it has {was}; "
        "to change them: kubewright node remove, then kubewright node add with its new roles",
    ),
    Rule(
        setting="hosts[].roles",
        edit=Edit.MEMBERS,
        kind=Kind.VERB,
        title="its members are not those of cluster.yaml",
        effect="members join and leave a live etcd one at a time",
        way="kubewright node add, node remove or node replace, as docs/runbooks/nodes.md says",
    ),
    Rule(
        setting="hosts",
        edit=Edit.REMOVED,
        kind=Kind.VERB,
        title="a node that is Ready is not in cluster.yaml",
        effect="its pods would be cut off, and its certificates stay valid",
        way=_REMOVE,
        keeps=False,
    ),
    Rule(
        setting="hosts",
        edit=Edit.LOST,
        kind=Kind.PLAIN,
        title="a node is not in cluster.yaml, and not Ready",
        effect="the firewalls of the other hosts close to it; its Node object stays until it is deleted",
        way="kubewright node remove {where} --dead -i INVENTORY",
    ),
)
ADDED = Rule(
    setting="hosts",
    edit=Edit.ADDED,
    kind=Kind.PLAIN,
    title="a host joins",
    effect="it is installed and registers; the firewalls of the other hosts open to it",
)
_UPGRADE = "kubewright upgrade --to {release} -i INVENTORY"
_KUBERNETES = (
    Rule(
        setting="kubernetes",
        edit=Edit.PATCH,
        kind=Kind.VERB,
        title="a later patch release",
        effect="after a snapshot of etcd, one host after the other is changed; each node is drained first",
        way=_UPGRADE,
    ),
    Rule(
        setting="kubernetes",
        edit=Edit.UP,
        kind=Kind.VERB,
        title="another minor release",
        effect="an upgrade has checks, and an order of its own; it goes one minor release at a time",
        way=_UPGRADE,
    ),
    Rule(
        setting="kubernetes",
        edit=Edit.DOWN,
        kind=Kind.VERB,
        title="an earlier release",
        effect="an upgrade has not ended, or what the later release has stored may be unreadable to the earlier one",
        way="put {was} back; to end an upgrade: kubewright upgrade --to {was} -i INVENTORY; "
        "to take it back: kubewright rollback -i INVENTORY",
        keeps=False,
    ),
    Rule(
        setting="kubernetes",
        edit=Edit.ETCD_UP,
        kind=Kind.VERB,
        title="a later etcd",
        effect="its members are changed one after the other, after a snapshot",
        way=_UPGRADE,
        keeps=False,
    ),
    Rule(
        setting="kubernetes",
        edit=Edit.ETCD_DOWN,
        kind=Kind.VERB,
        title="an earlier etcd",
        effect="an upgrade has changed etcd and nothing else yet, or a rollback has everything but etcd",
        way="run the command again that began it; to take an upgrade back: kubewright rollback -i INVENTORY",
        keeps=False,
    ),
)


def _changing(kind: Kind, effect: str, *settings: str, way: str = "") -> tuple[Rule, ...]:
    return tuple(Rule(setting=setting, kind=kind, effect=effect, way=way) for setting in settings)


_RESTARTS = "the component restarts: etcd and apiservers on one host at a time, others on a tenth of their hosts at once"
_KUBELET = "kubelet restarts, on a tenth of the hosts at once"
_HERE = "this machine alone uses it; nothing changes on hosts"
_OTHERS = (
    *_changing(Kind.PLAIN, _HERE, "lab", "secrets.*", "ssh.*", "hosts[].ssh.*"),
    *_changing(Kind.PLAIN, "the next artifacts come from there; those on hosts stay", "artifacts.*"),
    *_changing(Kind.PLAIN, "the timer on etcd hosts changes; snapshots that are there stay until the timer removes old ones",
               "backup.*"),
    *_changing(Kind.ROLLING, _RESTARTS, "extra_args.*", "hosts[].extra_args.*"),
    *_changing(Kind.ROLLING, _KUBELET, "hosts[].system_reserved", "hosts[].kube_reserved"),
    *_changing(Kind.ROLLING, "apiservers restart, one at a time; NodePorts outside the new range stay until they are changed",
               "network.node_ports"),
    *_changing(Kind.ROLLING, "kube-proxy restarts, on a tenth of the hosts at once, and removes the rules of its other mode",
               "network.proxy_mode"),
    *_changing(Kind.ROLLING, "kube2sky starts before CoreDNS restarts and stops after it; CoreDNS restarts pod by pod",
               "network.dns_provider"),
    *_changing(Kind.PLAIN, "CoreDNS reads its new configuration, within two minutes and without a restart",
               "network.dns_upstreams", "network.dns_stub_domains", "network.dns_zones"),
    *_changing(Kind.ROLLING, "apiservers get new certificates and restart, one at a time", "api.extra_sans"),
    *_changing(Kind.ROLLING, "apiservers restart, one at a time; Services keep the externalIPs that they have",
               "api.external_ips"),
    *_changing(Kind.PLAIN, "the add-on's objects are applied, or removed; namespaces, CRDs and volumes stay", "addons"),
    *_changing(Kind.PLAIN, "the next pull uses it; nothing restarts", "images.mirrors", "images.mirrors_only",
               "images.registries.*"),
    *_changing(Kind.PLAIN, "added archives are imported; images of removed ones stay; nothing restarts", "images.archives"),
    *_changing(Kind.ROLLING, "containerd restarts, on a tenth of the hosts at once; pods of CoreDNS and add-ons roll",
               "images.image_repository"),
    *_changing(Kind.PLAIN, "the nodes' labels change at once", "hosts[].labels"),
    *_changing(Kind.ROLLING, f"the nodes' taints change at once: NoExecute evicts pods; {_KUBELET}",
               "hosts[].taints"),
    *_changing(Kind.PLAIN, "quota, limits, Pod Security level and roles change at once; pods and objects that exist stay, even "
               "above a lower quota; a namespace that leaves the list stays, with its pods", "workgroups.*"),
    *_changing(Kind.PLAIN, "keys and certificates that are made from now on have it", "pki.algorithm", "pki.ca_days",
               "pki.leaf_days"),
    *_changing(Kind.ROLLING, "certificates with fewer days left are renewed, and what uses them restarts",
               "pki.renew_before_days"),
    *(
        rule
        for name in ("kubernetes", "etcd", "front_proxy")
        for rule in _changing(
            Kind.VERB,
            "every certificate of the authority changes, in stages",
            f"pki.{name}_ca",
            f"pki.{name}_ca_key",
            way=f"kubewright certs rotate-ca {name.replace('_', '-')}",
        )
    ),
)  # fmt: skip

ALL: tuple[Rule, ...] = (*_KUBERNETES, *_MADE_WITH, _WIDER, *_BACKEND, *_HOSTS, ADDED, *_OTHERS)
RULES = {(rule.setting, rule.edit): rule for rule in ALL}
