"""The preview: the changes of each host in the order of `apply`, each with its reason. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass

from kubewright.observe.observed import Observed
from kubewright.plan.changes import Changes
from kubewright.plan.desired import File


@dataclass(frozen=True, kw_only=True)
class Line:
    """One change on one host. `diff` is a unified diff, empty for secrets and binaries."""

    host: str
    role: str
    what: str
    diff: str = ""


def shown(changes: Mapping[str, Changes]) -> tuple[str, ...]:
    """The paths whose current content a preview shows: changed files without secrets."""
    return tuple(f.path for c in changes.values() for f in (*c.files, *c.late) if not f.secret)


def _diff(file: File, before: bytes | None) -> str:
    if file.secret or not isinstance(file.content, bytes):
        return ""
    old = (before or b"").decode(errors="replace").splitlines(keepends=True)
    new = file.content.decode(errors="replace").splitlines(keepends=True)
    return "".join(difflib.unified_diff(old, new, file.path if before is not None else "/dev/null", file.path))


def lines(host: str, changes: Mapping[str, Changes], observed: Observed, contents: Mapping[str, bytes]) -> tuple[Line, ...]:
    """All lines of one host. `contents`: the current content of the `shown` files."""
    found = []
    for role, change in changes.items():
        diffs = {f.path: _diff(f, contents.get(f.path)) for f in (*change.files, *change.late)}
        links = {link.path: observed.entries[link.path].target for link in change.links if link.path in observed.entries}
        for path, sentence in change.described():
            was = f" (was {links[path]})" if path in links else ""
            found.append(Line(host=host, role=role, what=sentence + was, diff=diffs.get(path, "")))
    return tuple(found)
