"""The shape of a flag's history. The data are in flag_table.py, the look-up in flags.py."""

from __future__ import annotations

from dataclasses import dataclass

from kubewright.releases.version import Version


@dataclass(frozen=True, kw_only=True)
class Present:
    """The program accepts the flag from that version on."""

    source: str = ""


@dataclass(frozen=True, kw_only=True)
class Removed:
    """The flag is refused by the program from that version on."""

    replacement: str
    """What to do instead, as part of a sentence: "use ..."."""
    source: str
    """The upstream source."""
    since: str = ""
    """The first version without the flag; filled in by `removed`."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of a flag's history."""

    since: str
    """major.minor of the component, Kubernetes' for its own ones."""
    state: Present | Removed

    @property
    def version(self) -> Version:
        return Version.parse(self.since)


History = tuple[Row, ...]
