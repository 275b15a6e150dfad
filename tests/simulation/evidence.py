"""The state of the cluster itself, and its facts, from the content that the tasks would send."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from kubewright.model.certificates import ADMINS
from kubewright.observe import facts
from kubewright.observe.objects import APPLIED, TASK, Listed, Ref

ETCD_SCRIPT = "export ETCDCTL_ENDPOINTS="
_ETCD_LINES = (
    (re.compile(r"etcdctl user grant-role (\S+) (\S+)"), lambda user, role: (facts.of_user(user, role), "granted")),
    (
        re.compile(r"etcdctl role grant-permission (\S+) --prefix=true (\S+) (\S+)"),
        lambda role, way, prefix: (facts.of_keys(role, prefix), way),
    ),
    (re.compile(r"etcdctl put \S+/config '(.*)'"), lambda config: (facts.NETWORK, config)),
    (re.compile(r"etcdctl auth enable"), lambda: (facts.AUTHENTICATION, "on")),
)


_UIDS = itertools.count()


def _listed(ref: Ref, task: str, applied: str, *, owned: bool = True) -> Listed:
    return Listed(ref=ref, uid=f"uid-{next(_UIDS)}", task=task, applied=applied, owned=owned)


def _config_map(name: str, namespace: str = "kube-system") -> Ref:
    return Ref(kind="ConfigMap", namespace=namespace, name=name)


PEOPLE = tuple(
    _listed(ref, "coredns", "a copy of kubewright's", owned=False)
    for ref in (_config_map("coredns-copy"), _config_map("coredns", "apps"), Ref(kind="ClusterRole", name="system:coredns-copy"))
)
"""Objects that people copied, label and all."""
FORMER = (
    _listed(_config_map("coredns-former"), "coredns", "by an older version"),
    _listed(Ref(kind="Deployment", namespace="former", name="former"), "a role of an older version", "by an older version"),
)
"""Objects that kubewright applied and does not want any more."""


def _people() -> dict[Ref, Listed]:
    return {found.ref: found for found in PEOPLE}


@dataclass(kw_only=True)
class Evidence:
    """By place: in etcd, in the API's objects, in its nodes."""

    etcd: dict[str, str] = field(default_factory=dict)
    objects: dict[Ref, Listed] = field(default_factory=_people)
    nodes: dict[str, str] = field(default_factory=dict)
    backends: dict[str, str] = field(default_factory=dict)
    """flannel's leases: by host, the backend that its flanneld started with."""

    def copy(self) -> Evidence:
        return Evidence(etcd=dict(self.etcd), objects=dict(self.objects), nodes=dict(self.nodes), backends=dict(self.backends))

    @property
    def backend(self) -> str:
        """The backend in flannel's configuration; empty before there is one."""
        return str(json.loads(self.etcd.get(facts.NETWORK, "{}")).get("Backend", {}).get("Type", ""))

    @property
    def said(self) -> tuple[dict[str, str], ...]:
        """The facts. An object that is made again has another UID and is the same fact."""
        return self.etcd, {str(ref): found.applied for ref, found in self.objects.items()}, self.nodes

    @property
    def ours(self) -> list[Ref]:
        return sorted((ref for ref, found in self.objects.items() if found.owned), key=str)

    @property
    def administered(self) -> bool:
        """Whether admin.conf may do anything."""
        return Ref(kind="ClusterRoleBinding", name=ADMINS) in self.objects

    def set_etcd(self, script: str) -> None:
        for line in script.splitlines():
            for pattern, fact in _ETCD_LINES:
                if found := pattern.fullmatch(line):
                    about, value = fact(*found.groups())
                    self.etcd[about] = value

    def set_objects(self, manifest: str) -> None:
        whole = json.loads(manifest)
        for item in whole["items"] if whole["kind"] == "List" else [whole]:
            metadata = item["metadata"]
            ref = Ref(kind=item["kind"], namespace=metadata.get("namespace", ""), name=metadata["name"])
            now = _listed(ref, metadata["labels"][TASK], metadata["annotations"][APPLIED])
            self.objects[ref] = replace(now, uid=self.objects[ref].uid) if ref in self.objects else now

    def remove(self, path: str, uid: str) -> Listed | None:
        """The object at that path of the API, if it has that UID."""
        found = next((found for found in self.objects.values() if found.ref.path == path and found.uid == uid), None)
        return self.objects.pop(found.ref) if found else None

    def set_nodes(self, lines: str) -> None:
        self.nodes.update(_of_nodes(lines))

    def lose(self, number: int) -> str:
        """Somebody deletes one thing by hand: which. Objects that other people made are not among them."""
        everything: list[tuple[dict[str, str] | dict[Ref, Listed], str | Ref]]
        everything = [(self.etcd, about) for about in sorted(self.etcd)]
        everything += [(self.objects, ref) for ref in self.ours]
        everything += [(self.nodes, about) for about in sorted(self.nodes)]
        kind, about = everything[number % len(everything)]
        del kind[about]  # type: ignore[arg-type]
        return str(about)


_REQUEST = re.compile(r'^url = "https://[^/]+(?P<path>/.*)"\nrequest = "DELETE"\n(?s:.*?)^data = (?P<data>.*)$', re.MULTILINE)


def removals(content: str) -> Iterator[tuple[str, str]]:
    """What a removal sends: paths of the API and UIDs."""
    for request in content.split("\nnext\n"):
        found = _REQUEST.match(request)
        assert found is not None, request
        yield found["path"], json.loads(json.loads(found["data"]))["preconditions"]["uid"]


def _of_nodes(lines: str) -> Iterator[tuple[str, str]]:
    for kind, name, *rest in map(str.split, lines.splitlines()):
        if kind == "node":
            yield facts.of_owned(name), "".join(rest)
        elif kind == "label":
            key, _, value = rest[0].partition("=")
            yield facts.of_label(name, key), value
        else:
            key, value, effect = facts.taint(rest[0])
            yield facts.of_taint(name, key, effect), value
