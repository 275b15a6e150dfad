"""A port is open, at its addresses and no others, by the process that is planned."""

from __future__ import annotations

from typing import Any

from kubewright.observe.observed import EVERY
from kubewright.observe.text import bound, listening
from kubewright.plan.listeners import against, named
from kubewright.plan.role import Check, Port

QUESTION = "ss -Hltunp"


def check(port: Port) -> Check:
    key, process = (port.protocol, port.number), port.process or "the kernel"

    def run(host: Any, _plan: object, _node: object) -> None:
        said = host.run(QUESTION)
        assert said.rc == 0, f"ss does not list the sockets ({said.stderr.strip()}); try it on this host: {QUESTION}"
        lines = said.stdout.splitlines()
        found = "; ".join(against(port, listening(lines).get(key), bound(lines).get(key, frozenset())))
        todo = f"look at the process on this host: ss -ltunp 'sport = :{port.number}', and at its unit's log (journalctl)"
        assert not found, f"{port.protocol} {port.number}: {found}; {todo}"

    at = named(port.addresses or (EVERY,))
    return Check(title=f"{process} listens on {port.protocol} {port.number} at {at}", run=run)
