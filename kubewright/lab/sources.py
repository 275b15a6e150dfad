"""The machine's own apt sources from which hosts are made. Pure but for `machine_sources`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

APT = Path("/etc/apt")


def codename(os_release: str) -> str:
    """The release in os-release; empty when there is none."""
    found = re.search(r"^VERSION_CODENAME=\"?(\w+)", os_release, re.MULTILINE)
    return found[1] if found else ""


def _one_line(text: str) -> Iterator[tuple[list[str], list[str]]]:
    for line in text.splitlines():
        if found := re.match(r"deb\s+(?:\[[^]]*\]\s+)?\S+\s+(\S+)\s*([^#]*)", line.strip()):
            yield [found[1]], found[2].split()


def _stanzas(text: str) -> Iterator[tuple[list[str], list[str]]]:
    uncommented = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    for stanza in re.split(r"\n\s*\n", uncommented):
        # A value continues in lines that begin with a space.
        rows = re.findall(r"^([\w-]+):((?:.*(?:\n[ \t].*)*))", stanza, re.MULTILINE)
        fields = {key.lower(): value.split() for key, value in rows}
        if "deb" in fields.get("types", []) and fields.get("enabled", ["yes"]) != ["no"]:
            yield fields.get("suites", []), fields.get("components", [])


def components(name: str, text: str, release: str) -> set[str]:
    """The components that a sources file of that name offers of `release`; empty: it offers nothing of it."""
    rows = _stanzas(text) if name.endswith(".sources") else _one_line(text)
    return {part for suites, parts in rows for part in parts if any(s.partition("-")[0] == release for s in suites)}


def machine_sources(release: str) -> dict[Path, set[str]]:
    """The machine's sources files that offer something of `release`, and the components that each offers."""
    candidates = [APT / "sources.list", *sorted((APT / "sources.list.d").glob("*"))]
    files = [path for path in candidates if path.suffix in (".list", ".sources") and path.is_file()]
    offers = {path: components(path.name, path.read_text(), release) for path in files}
    return {path: parts for path, parts in offers.items() if parts}
