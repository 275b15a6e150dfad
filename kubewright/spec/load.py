"""From a cluster.yaml to a ClusterSpec, or to everything that is wrong with it."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Collection
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from kubewright.errors import BadInput, Problem
from kubewright.spec import checks
from kubewright.spec.checks import authorities
from kubewright.spec.document import Document, parse
from kubewright.spec.model import ClusterSpec
from kubewright.spec.problems import finding
from kubewright.spec.wording import Finding, Place, shown

FILE = "cluster.yaml"
_SOMEBODY = {"name": "refused", "address": "255.255.255.255", "roles": ["master"]}
"""A stand-in when no host is left to check, so that the cluster-wide settings are still checked."""


def require(inventory: Path) -> bytes:
    """The content of its cluster.yaml, unchecked. Raises BadInput when it can't be read."""
    path = spec_file(inventory)
    try:
        return path.read_bytes()
    except (OSError, ValueError) as error:
        reason = (getattr(error, "strerror", None) or "unreadable").lower()
        allowed = "an inventory folder with a cluster.yaml"
        todo = f"write one with: kubewright init {path.parent}"
        raise BadInput([Problem(where=shown(str(path), limit=500), what=reason, allowed=allowed, todo=todo)]) from None


def _ignored(_warning: Problem) -> None:
    """For verbs that give no warnings."""


def load(
    inventory: Path,
    *,
    rotating: str = "",
    leaving: Collection[str] = (),
    warn: Callable[[Problem], None] = _ignored,
) -> ClusterSpec:
    """Read an inventory, given as its folder or as the file itself. Raises BadInput with every problem.

    `rotating`: the row of an authority (`ca/etcd`) that may differ from the cluster's. `warn` gets the settings that are
    accepted but may cause trouble. `leaving`: hosts that are not counted as masters and members any more.
    """
    path = spec_file(inventory)
    return loads(require(inventory), folder=path.absolute().parent, name=path.name, rotating=rotating, leaving=leaving, warn=warn)


def loads(
    raw: bytes,
    *,
    folder: Path,
    name: str = FILE,
    rotating: str = "",
    leaving: Collection[str] = (),
    warn: Callable[[Problem], None] = _ignored,
) -> ClusterSpec:
    """The spec that `raw` writes down; relative paths in it start at `folder`. Raises BadInput with every problem."""
    document = parse(raw, name=name)
    if not isinstance(document.data, dict):
        what = "an empty file" if document.data is None else "not a mapping"
        allowed, todo = "name, hosts and other settings", "start from: kubewright init"
        empty = Finding(at=(), what=what, allowed=allowed, todo=todo)
        raise BadInput(map(document.problem, document.findings or [empty]))
    found = list(document.findings)
    spec: ClusterSpec | None = None
    refused: list[Place] = [each.at for each in found]
    try:
        spec = ClusterSpec.model_validate(document.data, context={"folder": folder})
    except ValidationError as error:
        errors = error.errors(include_url=False)
        # A value that the document refused is null now: one problem is enough.
        found += [each for item in errors if (each := finding(item, document)) and each.at not in refused]
        refused += [tuple(part for part in item["loc"] if part != "[key]") for item in errors]
        found += _findings_of_the_rest(document, refused, folder, rotating)
    else:
        found += checks.findings(spec, leaving=leaving)
        found += authorities.findings(spec, folder, rotating)
    if found or spec is None:
        found.sort(key=lambda each: (document.line(each.at), *(str(part) for part in each.at)))
        raise BadInput(map(document.problem, dict.fromkeys(found)))
    for warning in authorities.warnings(spec):
        warn(document.problem(warning))
    return spec


def spec_file(inventory: Path) -> Path:
    """The file that an inventory argument means: the folder's cluster.yaml, or the file itself."""
    with contextlib.suppress(OSError, ValueError):
        if inventory.is_dir() or not (inventory.exists() or inventory.suffix in (".yaml", ".yml")):
            return inventory / FILE
    return inventory


def _findings_of_the_rest(document: Document, refused: list[Place], folder: Path, rotating: str) -> list[Finding]:
    """The findings of the checks without the refused values; none if too little is left to check."""
    data: Any = copy.deepcopy(document.data)
    hosts = data.get("hosts")
    lost = {int(place[1]) for place in refused if _loses_host(place)}
    for place in refused:
        if place == ("name",):
            data["name"] = "refused"
        elif _of_a_workgroup(data, place):
            _leave_out_of_workgroup(data["workgroups"], int(place[1]), place[2:3])
        elif not _of_a_host(place):
            _remove(data, place[:2])
        elif place[1] not in lost:
            _leave_out(hosts[place[1]], place)
    kept = [index for index in range(len(hosts)) if index not in lost] if isinstance(hosts, list) else []
    data["hosts"] = [hosts[index] for index in kept] or [_SOMEBODY]
    try:
        spec = ClusterSpec.model_validate(data, context={"folder": folder})
    except ValidationError:
        return []
    names = {".".join(str(part) for part in place[:2]) for place in refused if place[:1] != ("hosts",)}
    if lost or not kept:
        names.add("hosts")
    found = [_renumbered(each, kept) for each in checks.findings(spec, refused=names) if kept or each.at[:1] != ("hosts",)]
    found += authorities.findings(spec, folder, rotating)
    return [each for each in found if not any(each.at[: len(place)] == place for place in refused)]


def _of_a_host(place: Place) -> bool:
    """Whether the place is inside a list of hosts. A mapping there is no list."""
    return place[:1] == ("hosts",) and len(place) > 1 and isinstance(place[1], int)


def _of_a_workgroup(data: Any, place: Place) -> bool:
    """Whether the place is a workgroup or in one: without it, the others can be checked."""
    groups = data.get("workgroups")
    return place[:1] == ("workgroups",) and len(place) > 1 and isinstance(place[1], int) and isinstance(groups, list)


def _leave_out_of_workgroup(groups: list[Any], number: int, setting: Place) -> None:
    """Remove a refused setting of a workgroup, or all of them."""
    if not setting or not isinstance(groups[number], dict):
        groups[number] = {"name": f"refused-{number}"}
    else:
        _leave_out(groups[number], ("workgroups", number, *setting))


def _loses_host(place: Place) -> bool:
    """Without its roles a host can't be counted; without other settings it can."""
    return _of_a_host(place) and (len(place) == 2 or place[2:3] == ("roles",))


def _leave_out(host: dict[str, Any], place: Place) -> None:
    """Remove a refused setting from a host. A required one gets a stand-in, and findings about the stand-in are not shown."""
    key, number = place[2], int(place[1])
    if key == "name":
        host["name"] = f"refused-{number}"
    elif key == "address":
        host["address"] = str(IPv4Address(2**32 - 1 - number))
    else:
        host.pop(str(key), None)


def _remove(data: Any, place: Place) -> None:
    for part in place[:-1]:
        if not isinstance(data.get(part), dict):
            return
        data = data[part]
    if place:
        data.pop(place[-1], None)


def _renumbered(each: Finding, kept: list[int]) -> Finding:
    """The finding with the host's number in the file."""
    if each.at[:1] == ("hosts",) and len(each.at) > 1 and isinstance(each.at[1], int):
        place = ("hosts", kept[each.at[1]], *each.at[2:])
        return Finding(at=place, what=each.what, allowed=each.allowed, todo=each.todo)
    return each
