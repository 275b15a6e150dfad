"""The index as it will be once what was decided is carried out, before any key is made."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from pki.decisions import Decision, Verdict
from pki.store import Entry


def planned(entries: Mapping[str, Entry], decisions: Iterable[Decision]) -> dict[str, Entry]:
    """`entries`, with a stand-in for everything that is to be issued: it equals nothing that is on a host."""
    due = [d for d in decisions if d.verdict is not Verdict.KEEP]
    stand_ins = {d.name: Entry(certificate=f"({d.verdict} {d.name}: {d.reason})\n", key_sha256=f"({d.verdict})") for d in due}
    return {**entries, **stand_ins}
