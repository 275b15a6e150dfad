"""A cluster's lineage: the record of its identity and of the settings that it was made with. Pure.

It is on every master and etcd host, in a ConfigMap in kube-system, and beside the inventory. A cluster that has none yet is
adopted: the record is filled from the live cluster.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

PATH = "/var/lib/kubewright/cluster.json"
FILE = "cluster.json"
"""The copy beside the inventory."""
CONFIG_MAP = "kubewright"
"""Its name in kube-system."""
FORMAT = 1


@dataclass(frozen=True, kw_only=True, order=True)
class Member:
    """An etcd member. `id` is hexadecimal; `name` is empty until it has started."""

    name: str
    id: str
    peer_urls: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """A host of the cluster."""

    name: str
    address: str
    roles: tuple[str, ...]
    kubernetes: str
    """The release that its last whole apply installed."""


@dataclass(frozen=True, kw_only=True)
class Lineage:
    """One cluster. `settings` are those that cannot change without a procedure, by their place in cluster.yaml."""

    name: str
    uid: str
    """The UID of the namespace kube-system."""
    created: str
    """RFC 3339."""
    etcd_id: str
    """etcd's cluster ID, hexadecimal."""
    etcd_token: str
    """The cluster's name; after a restore with its generation, `prod@2`: see `token`."""
    members: tuple[Member, ...]
    settings: Mapping[str, str]
    first_services: str
    """The services' range that the cluster was made with; `network.services` may be wider by now."""
    hosts: Mapping[str, Recorded] = field(default_factory=dict)
    """By machine ID."""
    generation: int = 1
    """Increased with every change of the record: the highest one is the newest."""
    operation: str = ""
    """The operation under way, empty when there is none."""

    @property
    def complete(self) -> bool:
        """Whether the cluster's identity is known."""
        return bool(self.uid and self.etcd_id)

    @property
    def node_names(self) -> frozenset[str]:
        return frozenset(host.name for host in self.hosts.values())

    def text(self) -> str:
        """JSON, the same for the same record."""
        return json.dumps({"format": FORMAT, **asdict(self)}, indent=1, sort_keys=True) + "\n"


def token(cluster: str, generation: int) -> str:
    """etcd's cluster token. The first generation is the name alone; each restore makes the next [docs/decisions/0025]."""
    return cluster if generation == 1 else f"{cluster}@{generation}"


def cluster_of(etcd_token: str) -> str:
    """The cluster's name in a token. Names have no `@`."""
    return etcd_token.partition("@")[0]


def generation_of(etcd_token: str) -> int:
    """1 for a token without a generation, 0 for none at all."""
    number = etcd_token.partition("@")[2]
    return int(number) if number.isdecimal() else int(bool(etcd_token))


class Unreadable(ValueError):
    """A record that this version of kubewright cannot read."""


def parse(text: str) -> Lineage:
    """A record from its text. Unreadable when it is incomplete, or of another format."""
    try:
        found: dict[str, Any] = json.loads(text)
        if (made := found.pop("format")) != FORMAT:
            raise Unreadable(f"its format is {made}, and this version of kubewright reads {FORMAT}")
        found["members"] = tuple(Member(**{**m, "peer_urls": tuple(m["peer_urls"])}) for m in found["members"])
        found["hosts"] = {
            machine: Recorded(**{**host, "roles": tuple(host["roles"])}) for machine, host in found["hosts"].items()
        }
        return Lineage(**found)
    except Unreadable:
        raise
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise Unreadable(f"it is no record ({type(error).__name__})") from error


def newest(records: Sequence[Lineage], uid: str) -> Lineage | None:
    """The newest of `records`; of this cluster only, where its UID is known."""
    ours = [record for record in records if not uid or record.uid == uid]
    return max(ours, key=lambda record: record.generation, default=None)


def updated(before: Lineage | None, now: Lineage) -> Lineage:
    """`now`, with the next generation when it differs from `before`."""
    if before is None:
        return replace(now, generation=1)
    same = replace(now, generation=before.generation)
    return same if same == before else replace(now, generation=before.generation + 1)
