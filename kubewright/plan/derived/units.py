"""A unit is enabled, is active, and runs the version that the link to its program leads to."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from kubewright.observe.text import blocks
from kubewright.plan.context import link_of
from kubewright.plan.role import Check, Role

# NRestarts only explains: a unit that failed once, long ago, is healthy.
_PROPERTIES = "Id,ActiveState,SubState,UnitFileState,MainPID,NRestarts"


def programs(roles: Iterable[Role]) -> dict[str, str]:
    """By unit: the link to its program. Empty where the program is the operating system's, such as haproxy."""
    return {unit: link_of(name) if (name := _name(unit)) in role.binaries else "" for role in roles for unit in role.units}


def _name(unit: str) -> str:
    return unit.removesuffix(".service")


def question(links: Mapping[str, str]) -> str:
    """Shell that prints the state of each unit, the program of each main process, and what each link leads to."""
    names, paths = (" ".join(map(shlex.quote, filter(None, some))) for some in (links, links.values()))
    return f"""u=$(systemctl show -p {_PROPERTIES} {names}) || exit
printf '%s\\n\\n' "$u"
for p in $(printf '%s\\n' "$u" | sed -n 's/^MainPID=//p'); do echo "exe $p $(readlink "/proc/$p/exe")"; done
for l in {paths}; do echo "link $l $(readlink -f "$l")"; done"""


@dataclass(frozen=True, kw_only=True)
class _Answer:
    states: Mapping[str, Mapping[str, str]]
    programs: Mapping[str, str]
    """By process ID."""
    links: Mapping[str, str]


def _answer(said: str) -> _Answer:
    states = {block["Id"]: block for block in blocks(said.splitlines()) if "Id" in block}
    exe, links = (re.findall(rf"^{kind} (\S+) (.*)$", said, re.MULTILINE) for kind in ("exe", "link"))
    # A file that was sent again is another file and the same program: its sum is in the path.
    programs = {pid: path.removesuffix(" (deleted)") for pid, path in exe}
    return _Answer(states=states, programs=programs, links=dict(links))


def check(unit: str, links: Mapping[str, str]) -> Check:
    """`links`: of all units of the host, from `programs`."""
    asked, link = question(links), links[unit]

    def run(host: Any, _plan: object, _node: object) -> None:
        said = host.run(asked)
        assert said.rc == 0, f"systemd does not tell its state ({said.stderr.strip()}); look at: systemctl status {unit}"
        found = list(_problems(unit, link, _answer(said.stdout)))
        assert not found, "; ".join(found)

    return Check(title=f"{unit} is enabled and active" + (f", and runs the linked {_name(unit)}" if link else ""), run=run)


def _problems(unit: str, link: str, answer: _Answer) -> Iterator[str]:
    state = answer.states.get(unit, {})
    active, enabled = state.get("ActiveState", "unknown"), state.get("UnitFileState") or "not installed"
    if enabled != "enabled":
        yield f"{unit} is {enabled}, expected: enabled; kubewright apply enables it"
    if active != "active":
        restarts = f"{state.get('SubState', 'unknown')}, {state.get('NRestarts', '0')} automatic restarts"
        yield (
            f"{unit} is {active} ({restarts}), expected: active; "
            f"the reason is in its log on this host: journalctl -u {unit} -n 50; then run kubewright apply"
        )
    elif link:
        runs, wanted = answer.programs.get(state.get("MainPID", ""), ""), answer.links.get(link, "")
        if runs != wanted or not runs:
            yield (
                f"{unit} runs {runs or 'an unknown program'}, expected: {wanted or 'unknown'} (from {link}); "
                f"run kubewright apply; if it has nothing to change, restart the unit on this host: systemctl restart {unit}"
            )
