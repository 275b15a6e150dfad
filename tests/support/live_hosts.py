"""A live cluster as its hosts and its API report it, derived from the plan of its installation."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping

from kubewright.model.cluster import Flags, Node, Plan
from kubewright.model.lineage import Lineage, Member
from kubewright.observe.live import Api, Etcd, LiveNode
from kubewright.observe.live_script import FLAGS
from kubewright.observe.observed import Entry, Observed
from roles.apiserver import flags as apiserver
from roles.controller_manager import flags as controller_manager
from roles.etcd import flags as etcd
from roles.etcd_users.role import network
from roles.kubelet import flags as kubelet
from tests.support.scenarios import recorded

BASE = recorded("debian12-cgroup1")
UID = "0c7c3e2a-0000-4000-8000-000000000001"


def _units(plan: Plan, node: Node) -> dict[str, Flags]:
    found: dict[str, Flags] = {}
    if node.is_etcd:
        found["etcd"] = etcd.flags(plan, node)
    if node.is_master:
        found["kube-apiserver"] = apiserver.flags(plan, node)
        found["kube-controller-manager"] = controller_manager.flags(plan, "/etc/kubernetes/pki/ca.crt")
    if node.runs_pods:
        found["kubelet"] = kubelet.flags(node)
    return found


def configured(plan: Plan, node: Node) -> dict[str, str]:
    """The output of `live_script` on that host, from the roles' real flags."""
    wanted = re.compile(FLAGS)
    found = {
        f"{unit} {flag}": value
        for unit, flags in _units(plan, node).items()
        for flag, value in flags.items()
        if value is not None and wanted.fullmatch(flag)
    }
    if node.is_etcd:
        found["etcd initial-cluster-token"] = etcd.bootstrap(plan, node)["ETCD_INITIAL_CLUSTER_TOKEN"]
    if node.runs_pods:
        found |= {"kubelet clusterDNS": str(plan.dns_address), "kubelet clusterDomain": plan.domain}
        found["flannel FLANNEL_SUBNET"] = f"10.0.0.1/{plan.pod_prefix_length}"
    return found


def machine_id(node: Node) -> str:
    """The machine ID of the host installed as `node`."""
    return f"machine-of-{node.name}-{node.address}"


def api(plan: Plan, lost: frozenset[str] = frozenset()) -> Api:
    """The API's answer; the nodes of `lost` are not Ready."""
    nodes = tuple(
        LiveNode(
            name=n.name,
            machine_id=machine_id(n),
            kubernetes=plan.release.kubernetes,
            ready=n.name not in lost,
            schedulable=True,
            address=str(n.address),
        )
        for n in plan.kubelets
    )
    return Api(
        nodes=nodes,
        uid=UID,
        created="2026-11-01T00:00:00Z",
        services=str(plan.services),
        dns=str(plan.dns_address),
        domain=plan.domain,
    )


def etcd_answer(plan: Plan) -> Etcd:
    config = json.loads(network(plan, nftables=False))
    return Etcd(
        cluster_id="100be005fd907d26",
        members=tuple(
            Member(name=n.name, id=f"{number:x}", peer_urls=(f"https://{n.address}:2380",))
            for number, n in enumerate(plan.etcd_members, 1)
        ),
        pods=config["Network"],
        pod_prefix_length=str(config["SubnetLen"]),
        backend=config["Backend"]["Type"],
    )


def installed(plan: Plan, node: Node, record: Lineage | None = None) -> Observed:
    """The host that was installed as `node` of `plan`."""
    version = plan.release.kubernetes
    binaries = {"kubelet": version} if node.runs_pods else {}
    binaries |= {"kube-apiserver": version} if node.is_master else {}
    binaries |= {"etcd": plan.release.etcd} if node.is_etcd else {}
    links = {
        f"/usr/local/bin/{name}": Entry(
            kind="l", mode=0o777, owner="root", group="root", size=1, target=f"/opt/kubewright/{name}/{of}-0123abcd/{name}"
        )
        for name, of in binaries.items()
    }
    return dataclasses.replace(
        BASE,
        machine_id=machine_id(node),
        addresses=("127.0.0.1", str(node.address)),
        entries=links,
        installed=tuple(f"unit {unit}.service" for unit in _units(plan, node)),
        configured=configured(plan, node),
        api=api(plan) if node.is_master else None,
        etcd=etcd_answer(plan) if node.is_etcd else None,
        lineage=record,
    )


def reached(old: Plan, new: Plan, record: Lineage | None = None) -> Mapping[str, Observed]:
    """The hosts of `new` as observed: each is the machine of `old` with the same address, else with the same name, else
    empty."""
    by_address, by_name = {n.address: n for n in old.nodes}, {n.name: n for n in old.nodes}
    found = {}
    for node in new.nodes:
        machine = by_address.get(node.address) or by_name.get(node.name)
        empty = dataclasses.replace(BASE, machine_id=machine_id(node))
        found[node.name] = installed(old, machine, record) if machine else empty
    return found
