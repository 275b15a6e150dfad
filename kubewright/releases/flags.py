"""The removed flags of each version: one ordered history per flag; the highest row at or below the target wins.

Used to refuse a removed flag among extra arguments, with the flag, the version and what to use instead. Each role has the
flags that kubewright itself passes.
"""

from __future__ import annotations

from dataclasses import replace

from kubewright.releases.flag_history import History, Present, Removed, Row
from kubewright.releases.flag_table import FLAGS
from kubewright.releases.version import Version

__all__ = ["FLAGS", "History", "Present", "Removed", "Row", "history", "removed"]


def removed(component: str, flag: str, version: str | Version) -> Removed | None:
    """How `flag` (with or without dashes, with or without `=value`) was removed from that version of the component,
    or None when the flag exists or is unknown here. etcd's versions are etcd's own.

    Some flags stay while some of their values are removed: such values have rows of their own, `--flag=value`, and each of the
    comma-separated values given is looked up.
    """
    target = Version.parse(version) if isinstance(version, str) else version
    name, _, values = flag.lstrip("-").partition("=")
    names = [f"--{name}", *(f"--{name}={value}" for value in values.split(",") if value)]
    return next((gone for each in names if (gone := _state(history(component, each), target))), None)


def history(component: str, name: str) -> History:
    """The rows of a flag (`--name`, or `--name=value`), oldest first: its own, else those of the longest prefix (a key
    that ends in `*`) that covers it."""
    table = FLAGS.get(component, {})
    if name in table:
        return table[name]
    prefixes = [key for key in table if key.endswith("*") and name.startswith(key[:-1])]
    return table[max(prefixes, key=len)] if prefixes else ()


def _state(rows: History, target: Version) -> Removed | None:
    reached = [row for row in rows if row.version <= target]
    if not reached or isinstance(reached[-1].state, Present):
        return None
    return replace(reached[-1].state, since=reached[-1].since)
