"""Take hosts out of a cluster.yaml: their lines go, everything else stays as people wrote it. Pure."""

from __future__ import annotations

import io
from collections.abc import Collection, Iterator

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from kubewright.errors import BadInput
from kubewright.spec.document import parse


def without_hosts(raw: bytes, names: Collection[str]) -> bytes | None:
    """The file without those hosts. None when their lines can't be told from the others': then a person edits it."""
    lines = raw.decode("utf-8-sig").splitlines(keepends=True)
    try:
        root = YAML(typ="safe", pure=True).compose(io.StringIO("".join(lines)))
    except YAMLError:
        return None
    for first, last in sorted(_places(root, names), reverse=True):
        del lines[first : last + 1]
    edited = "".join(lines).encode()
    try:
        now, before = parse(edited, name="").data, parse(raw, name="").data
    except BadInput:
        return None
    if not isinstance(before, dict) or not isinstance(hosts := before.get("hosts"), list):
        return None
    kept = [host for host in hosts if not (isinstance(host, dict) and host.get("name") in names)]
    return edited if kept and now == {**before, "hosts": kept} else None


def _places(root: Node | None, names: Collection[str]) -> Iterator[tuple[int, int]]:
    """The first and the last line of each of those hosts, from 0."""
    hosts = _get(root, "hosts")
    if not isinstance(hosts, SequenceNode) or hosts.flow_style:
        return
    for item in hosts.value:
        name = _get(item, "name")
        if isinstance(name, ScalarNode) and name.value in names:
            yield item.start_mark.line, _last(item)


def _get(node: Node | None, key: str) -> Node | None:
    entries = node.value if isinstance(node, MappingNode) else ()
    return next((value for name, value in entries if name.value == key), None)


def _last(node: Node) -> int:
    """The last line with something of it. A block ends where the next thing begins, which is too late."""
    if isinstance(node, ScalarNode) or getattr(node, "flow_style", False):
        return int(node.end_mark.line)
    parts = [part for entry in node.value for part in (entry if isinstance(entry, tuple) else (entry,))]
    return max([int(node.start_mark.line), *map(_last, parts)])
