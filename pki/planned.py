"""The index after the decisions will be carried out. Makes no key."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from pki.decisions import Authority, Decision, Verdict
from pki.store import Entry


def planned(
    entries: Mapping[str, Entry], decisions: Iterable[Decision], authorities: Iterable[Authority] = ()
) -> dict[str, Entry]:
    """`entries` with the external CAs, and a placeholder for each certificate or key that is to be issued.

    A placeholder equals no file on a host, so that file shows as a change.
    """
    due = [d for d in decisions if d.verdict not in (Verdict.KEEP, Verdict.AWAIT)]
    stand_ins = {d.name: Entry(certificate=f"({d.verdict} {d.name}: {d.reason})\n", key_sha256=f"({d.verdict})") for d in due}
    given = {a.name: a.given.certificate.decode() for a in authorities if a.given}
    external = {name: Entry(certificate=given[name], key_sha256="") for name in stand_ins if name in given}
    return {**entries, **stand_ins, **external}
