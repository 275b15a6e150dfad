"""The first file in a backup: what the others are, and what the cluster had when it was taken. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

FORMAT = 1
NAME = "manifest.json"
SNAPSHOT = "etcd.db"
INVENTORY = "inventory/"
"""Before the names of files that lie beside cluster.yaml."""


@dataclass(frozen=True, kw_only=True)
class Kept:
    """A file in the backup. `size` in bytes."""

    size: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Taken:
    """What the member that gave the snapshot said of it, after it had restored the snapshot into a scratch folder."""

    member: str
    sha256: str
    size: int
    """Bytes."""
    version: str
    """Of etcd."""
    revision: int
    keys: int
    counts: Mapping[str, int]
    """Keys of the API's objects, by resource: `pods`, `services/specs`, `apiregistration.k8s.io/apiservices`."""


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """Everything about a backup that is not secret, though it is encrypted too."""

    cluster: str
    uid: str
    """The UID of kube-system; empty where no record had it."""
    etcd_token: str
    taken: str
    """RFC 3339, UTC."""
    kubewright: str
    kubernetes: str
    snapshot: Taken
    files: Mapping[str, Kept] = field(default_factory=dict)
    left_out: tuple[str, ...] = ()
    """Files that cluster.yaml names and the backup does not have: logins, and what lies outside the inventory."""

    def text(self) -> bytes:
        return json.dumps({"format": FORMAT, **asdict(self)}, indent=1, sort_keys=True).encode() + b"\n"


def parse(text: bytes) -> Manifest:
    """ValueError when this version of kubewright can't read it."""
    try:
        found: dict[str, Any] = json.loads(text)
        if (made := found.pop("format")) != FORMAT:
            raise ValueError(f"its format is {made}, and this version of kubewright reads {FORMAT}")
        found["snapshot"] = Taken(**found["snapshot"])
        found["files"] = {name: Kept(**kept) for name, kept in found["files"].items()}
        found["left_out"] = tuple(found["left_out"])
        return Manifest(**found)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"its manifest can't be read ({type(error).__name__})") from error


def counted(keys: str, prefix: str = "/registry/") -> dict[str, int]:
    """The API's objects by resource, from etcd's keys, one a line, or from `NUMBER KEY`, as `uniq -c` prints them.

    The apiserver's keys are /registry/RESOURCE/..., and /registry/GROUP/RESOURCE/... where the group's name has a dot or is
    `services`.
    """
    found: dict[str, int] = {}
    for line in keys.splitlines():
        number, _, key = line.strip().rpartition(" ")
        if key.startswith(prefix):
            first, _, rest = key.removeprefix(prefix).partition("/")
            deeper = "." in first or first == "services"
            name = f"{first}/{rest.partition('/')[0]}" if deeper else first
            found[name] = found.get(name, 0) + int(number or 1)
    return dict(sorted(found.items()))


def differences(before: Mapping[str, int], after: Mapping[str, int]) -> dict[str, tuple[int, int]]:
    """The resources whose numbers differ, with both."""
    pairs = {name: (before.get(name, 0), after.get(name, 0)) for name in sorted({*before, *after})}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}
