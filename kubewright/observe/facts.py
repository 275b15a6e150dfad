"""The cluster's evidence of finished work: the shell that asks for it, and the answer as facts. Pure.

Each fact has a subject and a value. A task names the facts that prove it (`desired.Task`). A cluster that does not answer
gives no facts, so its tasks are done again and never skipped.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence

from kubewright.model.cluster import ETCD_CLIENT_PORT
from kubewright.model.etcd_rights import FLANNEL_PREFIX, USERS
from kubewright.observe.live import Etcd

TASK, APPLIED = "kubewright/task", "kubewright/applied"
"""A label on each object that a task applies: the task's name. An annotation: the sum of what was applied."""
OWNS = "kubewright/owns"
"""An annotation on a node: the keys of the labels and taints that kubewright set there, so that it can remove them."""

_SYSTEM = "namespaces/kube-system"
_RBAC = "/apis/rbac.authorization.k8s.io/v1"
PATHS = {
    "ServiceAccount": f"/api/v1/{_SYSTEM}/serviceaccounts",
    "ConfigMap": f"/api/v1/{_SYSTEM}/configmaps",
    "Service": f"/api/v1/{_SYSTEM}/services",
    "Deployment": f"/apis/apps/v1/{_SYSTEM}/deployments",
    "ServiceCIDR": "/apis/networking.k8s.io/v1/servicecidrs",
    "PodDisruptionBudget": f"/apis/policy/v1/{_SYSTEM}/poddisruptionbudgets",
    "ClusterRole": f"{_RBAC}/clusterroles",
    "ClusterRoleBinding": f"{_RBAC}/clusterrolebindings",
}
"""Where the API lists each kind of object that tasks apply."""
AS_MASTER = (
    "--cacert /etc/kubernetes/pki/ca.crt --cert /etc/kubernetes/pki/front-proxy-client.crt "
    "--key /etc/kubernetes/pki/front-proxy-client.key -H 'X-Remote-User: kubewright' -H 'X-Remote-Group: system:masters'"
)
"""curl as system:masters, which needs no binding in the cluster. Only masters have that key."""

# One connection, metadata only. The User-Agent keeps the API from indenting its answer.
_API = f"""
s objects; a=$(sed -n 's/^ *server: //p' /etc/kubernetes/admin.conf 2>/dev/null) q='?labelSelector={TASK}'
[ -z "$a" ] || curl -q -fsS --noproxy '*' --fail-early -m 5 -A kubewright {AS_MASTER} \\
  -H 'Accept: application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1' -w '\\n%{{http_code}} %{{url_effective}}\\n' \\
  {" ".join(f'"$a{path}$q"' for path in PATHS.values())} 2>/dev/null
"""

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

SCRIPT = _API + _ETCD
"""A part of the observing command: `s` begins a section. On hosts that are neither masters nor etcd members it asks nothing."""


def of_object(kind: str, name: str) -> str:
    return f"{kind} {name}"


def of_label(node: str, key: str) -> str:
    return f"label {key} of {node}"


def of_taint(node: str, key: str, effect: str) -> str:
    return f"taint {key}:{effect} of {node}"


def of_owned(node: str) -> str:
    return f"the annotation {OWNS} of {node}"


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


def read(objects: Sequence[str], nodes: Sequence[str], auth: Sequence[str], etcd: Etcd | None) -> dict[str, str]:
    """The facts in those sections and in etcd's. No facts about objects unless the answer is complete."""
    network = {NETWORK: etcd.network} if etcd else {}
    return {**dict(_objects(objects)), **dict(_nodes(nodes)), **dict(_auth(auth)), **network}


API = "the API"
ETCD = "etcd"
"""Facts that need only an answer from the API or from etcd."""


def _objects(lines: Sequence[str]) -> Iterator[tuple[str, str]]:
    kinds = {path: kind for kind, path in PATHS.items()}
    lists: dict[str, list[dict[str, object]]] = {}
    body = ""
    for line in lines:
        if ended := re.fullmatch(r"200 https://[^/]+(/[^?]+)\?.*", line):
            lists[kinds[ended[1]]] = json.loads(body)["items"] or []
        body = line or body
    if set(lists) != set(PATHS):
        return
    yield API, "answers"
    for kind, items in lists.items():
        for item in items:
            metadata = item["metadata"]
            assert isinstance(metadata, dict)
            yield of_object(kind, metadata["name"]), metadata.get("annotations", {}).get(APPLIED, "")


def _nodes(lines: Sequence[str]) -> Iterator[tuple[str, str]]:
    for name, *_, labels, taints, owned in (line.split("\t") for line in lines if line.count("\t") > len(NODE)):
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
