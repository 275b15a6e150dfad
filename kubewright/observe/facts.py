"""The cluster's evidence of finished work: the shell that asks for it, and the answer as facts. Pure.

Each fact is about one thing, and has a value. A task names those that hold once it is done (`desired.ClusterTask`). A cluster
that does not answer gives no facts, so that its tasks are done again and never skipped.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from kubewright.model.cluster import ETCD_CLIENT_PORT
from kubewright.model.etcd_rights import FLANNEL_PREFIX, USERS
from kubewright.observe import objects
from kubewright.observe.live import Etcd
from kubewright.observe.objects import Listed

OWNS = "kubewright/owns"
"""An annotation on a node: the keys of the labels and taints that kubewright set there, so that it can remove them."""

CORDONED = "kubewright.io/cordoned-by"
"""An annotation on a node that kubewright has cordoned, for as long as that lasts."""
HELD = '{{with .metadata.annotations}}{{with index . "' + CORDONED + '"}}{{.}}{{end}}{{end}}'

LABELS = "{{range $k, $v := .metadata.labels}}{{$k}}={{$v}},{{end}}"
TAINTS = "{{range .spec.taints}}{{.key}}{{with .value}}={{.}}{{end}}:{{.effect}},{{end}}"
OWNED = '{{with .metadata.annotations}}{{with index . "' + OWNS + '"}}{{.}}{{end}}{{end}}'
NODE = (LABELS, TAINTS, OWNED)
"""Of a node, as kubectl's go-templates: the last columns of the section `nodes` (see `live_script`)."""

# The gateway that speaks JSON takes no certificate for a user [etcd: server/auth/store.go, AuthInfoFromTLS], so etcdctl asks.
_ETCD = f"""
s etcd-auth
etc() {{ c=/etc/etcd/pki; etcdctl --endpoints=https://127.0.0.1:{ETCD_CLIENT_PORT} --command-timeout=3s --cacert=$c/ca.crt \\
  --cert=$c/root.crt --key=$c/root.key "$@" 2>/dev/null; }}
[ ! -f /etc/etcd/pki/root.key ] || ! etc auth status || for u in {" ".join(USERS)}; do etc user get $u --detail; done
"""

SCRIPT = objects.SCRIPT + _ETCD
"""A part of the observing command: `s` begins a section. On other hosts than masters and members it asks nobody."""


def of_label(node: str, key: str) -> str:
    return f"label {key} of {node}"


def of_taint(node: str, key: str, effect: str) -> str:
    return f"taint {key}:{effect} of {node}"


def of_addon(name: str) -> str:
    """Its value is the sum of the add-on's objects, once they are applied and ready."""
    return f"add-on {name}"


def of_owned(node: str) -> str:
    return f"the annotation {OWNS} of {node}"


def of_node(node: str) -> str:
    return f"node {node}"


def of_member(peer_url: str) -> str:
    return f"etcd's member at {peer_url}"


def of_vote(peer_url: str) -> str:
    return f"the vote of etcd's member at {peer_url}"


AUTHENTICATION = "etcd's authentication"
NETWORK = f"etcd's key {FLANNEL_PREFIX}/config"


def of_user(user: str, role: str) -> str:
    return f"etcd's user {user} with the role {role}"


def of_keys(role: str, prefix: str) -> str:
    return f"the right of etcd's role {role} to {prefix}"


def taint(text: str) -> tuple[str, str, str]:
    """`key=value:effect`, of which `=value` may be missing, as key, value, effect."""
    left, _, effect = text.rpartition(":")
    key, _, value = left.partition("=")
    return key, value, effect


def read(listed: Sequence[Listed] | None, nodes: Sequence[str], auth: Sequence[str], etcd: Etcd | None) -> dict[str, str]:
    """The facts in those parts of the answer, and etcd's own. An object's fact is its annotation APPLIED, by `str` of its Ref."""
    network = {NETWORK: etcd.network} if etcd else {}
    return {**dict(_objects(listed)), **dict(_nodes(nodes)), **dict(_auth(auth)), **network, **dict(members(etcd))}


def members(etcd: Etcd | None) -> Iterator[tuple[str, str]]:
    """The facts about etcd's members, by their first peer URL."""
    if etcd is not None:
        yield MEMBERS, "known"
    for member in (m for m in etcd.members if m.peer_urls) if etcd else ():
        yield of_member(member.peer_urls[0]), "there"
        yield of_vote(member.peer_urls[0]), "no" if member.id in etcd.learners else "yes"  # type: ignore[union-attr]


MEMBERS, NODES = "the list of etcd's members", "the list of nodes"
"""Facts where those lists came: what is not in them is not there."""
API = "the API"
ETCD = "etcd"
"""Facts that need only an answer from the API or from etcd."""


def _objects(listed: Sequence[Listed] | None) -> Iterator[tuple[str, str]]:
    if listed is None:
        return
    yield API, "answers"
    for found in listed:
        yield str(found.ref), found.applied
        if found.addon:
            yield of_addon(found.addon), found.applied
            yield from ((str(item.ref), found.task) for item in found.contents)


def _nodes(lines: Sequence[str]) -> Iterator[tuple[str, str]]:
    if lines and lines[-1] == ".":
        yield NODES, "known"
    for name, *_, labels, taints, owned in (line.split("\t") for line in lines if line.count("\t") > len(NODE)):
        yield of_node(name), "registered"
        yield of_owned(name), owned
        for label in filter(None, labels.split(",")):
            key, _, value = label.partition("=")
            yield of_label(name, key), value
        for key, value, effect in map(taint, filter(None, taints.split(","))):
            yield of_taint(name, key, effect), value


def _auth(lines: Sequence[str]) -> Iterator[tuple[str, str]]:
    """etcdctl's words [etcd: etcdctl/ctlv3/command/user_command.go, printer_simple.go]."""
    user = role = way = ""
    ways: dict[tuple[str, str], set[str]] = {}
    for line in lines:
        word, _, rest = line.partition(" ")
        if line.startswith("Authentication Status: "):
            yield ETCD, "answers"
            yield AUTHENTICATION, "on" if line.endswith(" true") else "off"
        elif word == "User:":
            user = rest
        elif word == "Role":
            role = rest
            yield of_user(user, role), "granted"
        elif word == "KV":
            way = rest.strip(":").lower()
        elif found := re.fullmatch(r"\t\[.*\(prefix (.*)\)", line):
            ways.setdefault((role, found[1]), set()).add(way)
    for (its_role, prefix), both in ways.items():
        yield of_keys(its_role, prefix), "".join(sorted(both))
