"""The state of the cluster itself, and its facts, from the content that the tasks would send."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from kubewright.model.certificates import ADMINS
from kubewright.observe import facts

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


@dataclass(kw_only=True)
class Evidence:
    """By place: in etcd, in the API's objects, in its nodes."""

    etcd: dict[str, str] = field(default_factory=dict)
    objects: dict[str, str] = field(default_factory=dict)
    nodes: dict[str, str] = field(default_factory=dict)

    def copy(self) -> Evidence:
        return Evidence(etcd=dict(self.etcd), objects=dict(self.objects), nodes=dict(self.nodes))

    @property
    def administered(self) -> bool:
        """Whether admin.conf has any rights."""
        return facts.of_object("ClusterRoleBinding", ADMINS) in self.objects

    def set_etcd(self, script: str) -> None:
        for line in script.splitlines():
            for pattern, fact in _ETCD_LINES:
                if found := pattern.fullmatch(line):
                    about, value = fact(*found.groups())
                    self.etcd[about] = value

    def set_objects(self, manifest: str) -> None:
        whole = json.loads(manifest)
        for item in whole["items"] if whole["kind"] == "List" else [whole]:
            self.objects[facts.of_object(item["kind"], item["metadata"]["name"])] = item["metadata"]["annotations"][facts.APPLIED]

    def set_nodes(self, lines: str) -> None:
        self.nodes.update(_of_nodes(lines))

    def lose(self, number: int) -> str:
        """Delete one thing, as a person would by hand. Returns its name."""
        everything = [(kind, about) for kind in (self.etcd, self.objects, self.nodes) for about in sorted(kind)]
        kind, about = everything[number % len(everything)]
        del kind[about]
        return about


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
