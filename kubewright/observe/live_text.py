"""The output of `live_script`, as types."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Sequence
from ipaddress import IPv4Network
from typing import Any

from kubewright.model.lineage import Lineage, Member, Unreadable, parse
from kubewright.observe.live import Api, Etcd, LiveNode, PodSubnet, domain_of

ALARMS = {1: "NOSPACE", 2: "CORRUPT"}
"""etcdserverpb.AlarmType [etcd: api/etcdserverpb/rpc.proto]."""


def _documents(lines: Sequence[str]) -> Iterator[dict[str, Any]]:
    """JSON objects one after the other, up to the first incomplete one."""
    text, decoder = "\n".join(lines), json.JSONDecoder()
    at = text.find("{")
    while at >= 0:
        try:
            found, end = decoder.raw_decode(text, at)
        except ValueError:
            return
        yield found
        at = text.find("{", end)


def _node(line: str) -> LiveNode:
    name, machine_id, version, ready, unschedulable, address, held, *_ = (*line.split("\t"), "")
    return LiveNode(
        name=name,
        machine_id=machine_id,
        kubernetes=version.removeprefix("v"),
        ready=ready == "True",
        schedulable=unschedulable != "true",
        address=address,
        held=bool(held),
    )


def api(nodes: Sequence[str], answers: Sequence[str]) -> Api | None:
    """The API's answer; None when there is none, or the list of nodes is incomplete."""
    if not nodes or nodes[-1] != ".":
        return None
    said = list(_documents(answers))
    by_kind = {document.get("kind", ""): document for document in said}
    namespace = by_kind.get("Namespace", {}).get("metadata", {})
    issuer = next((document["issuer"] for document in said if "issuer" in document), "")
    cidrs = by_kind.get("ServiceCIDR", {}).get("spec", {}).get("cidrs", [])
    return Api(
        nodes=tuple(sorted(map(_node, nodes[:-1]), key=lambda node: node.name)),
        uid=namespace.get("uid", ""),
        created=namespace.get("creationTimestamp", ""),
        services=",".join(cidrs),
        dns=by_kind.get("Service", {}).get("spec", {}).get("clusterIP", ""),
        domain=domain_of(issuer),
    )


def etcd(answers: Sequence[str]) -> Etcd | None:
    """etcd's answer; None when it lacks members, alarms, flannel's configuration or its leases."""
    said = list(_documents(answers))
    if len(said) < 4:
        return None
    members, alarms, network, leases = said[:4]
    written = _value(network)
    config = _flannel(written)
    return Etcd(
        cluster_id=f"{members['header']['cluster_id']:x}",
        members=tuple(
            sorted(
                Member(name=_started_as(m), id=f"{m['ID']:x}", peer_urls=tuple(m.get("peerURLs", ()))) for m in members["members"]
            )
        ),
        learners=frozenset(f"{m['ID']:x}" for m in members["members"] if m.get("isLearner")),
        alarms=tuple(sorted(f"{ALARMS.get(a['alarm'], '?')} {a['memberID']:x}" for a in alarms.get("alarms", ()))),
        network=written,
        pods=config.get("Network", ""),
        pod_prefix_length=str(config.get("SubnetLen", "")),
        backend=config.get("Backend", {}).get("Type", ""),
        leases=tuple(sorted(filter(None, map(_lease, leases.get("kvs", ()))), key=lambda one: one.address)),
    )


def _lease(pair: dict[str, Any]) -> PodSubnet | None:
    """A lease from its key `.../subnets/10.244.3.0-24` and its value [flannel: pkg/subnet/etcd/registry.go, pkg/lease]; None
    when it is not one."""
    try:
        key, value = (base64.b64decode(pair[part]).decode() for part in ("key", "value"))
        found = json.loads(value)
        subnet = IPv4Network(key.rpartition("/")[2].replace("-", "/"))
        return PodSubnet(address=found["PublicIP"], subnet=str(subnet), backend=found["BackendType"])
    except (ValueError, TypeError, KeyError):
        return None


def _started_as(member: dict[str, Any]) -> str:
    """Its name, empty until it has started. The first members of a cluster have names before that; every member publishes
    its client URLs once it has started [etcd: server/etcdserver/server.go, publishV3]."""
    return str(member.get("name", "")) if member.get("clientURLs") else ""


def _value(answer: dict[str, Any]) -> str:
    """The value of the first key in an answer of `etcdctl get -w json`; empty when there is none."""
    return next((base64.b64decode(pair["value"]).decode(errors="replace") for pair in answer.get("kvs", ())), "")


def _flannel(written: str) -> dict[str, Any]:
    """flannel's configuration; empty when the key holds something else."""
    try:
        found = json.loads(written)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def configured(lines: Sequence[str]) -> dict[str, str]:
    """By `UNIT SETTING`, its value."""
    split = (line.partition("=") for line in lines)
    return {key: value for key, separator, value in split if separator}


def lineage(lines: Sequence[str]) -> tuple[Lineage | None, str]:
    """The host's record, or why it can't be read."""
    if not lines:
        return None, ""
    try:
        return parse("\n".join(lines)), ""
    except Unreadable as error:
        return None, str(error)
