"""Each program of a role is a link to a versioned folder, and only root can change the file there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from kubewright.model.places import HOME
from kubewright.plan.context import link_of
from kubewright.plan.derived.files import Files, asked
from kubewright.plan.role import Check, Role

_EXECUTED, _OTHERS_WRITE = 0o111, 0o022


def links(role: Role) -> tuple[str, ...]:
    return tuple(map(link_of, role.binaries))


def check(role: Role, question: str) -> Check:
    """`question`: about the host's files, the role's `links` among them."""

    def run(host: Any, _plan: object, _node: object) -> None:
        files = asked(host, question)
        found = [problem for binary in role.binaries for problem in _problems(binary, files)]
        assert not found, "; ".join(found)

    return Check(title="its programs are links to versions that only root can change", run=run)


def _problems(binary: str, files: Files) -> Iterator[str]:
    link, folder = link_of(binary), f"{HOME}/{binary}/"
    entry, file = files.there.get(link), files.behind.get(link)
    if not entry or entry.kind != "l" or not entry.target.startswith(folder):
        found = "missing" if not entry else f"a link to {entry.target}" if entry.kind == "l" else "no symbolic link"
        yield f"{link} is {found}, expected: a link into {folder}; kubewright apply corrects it"
    elif not file or file.kind != "f":
        yield f"{link} leads to {entry.target}, which is no file; kubewright apply sends it again"
    elif file.owner != "root" or file.mode & _OTHERS_WRITE or file.mode & _EXECUTED != _EXECUTED:
        yield (
            f"{entry.target} has the owner {file.owner} and the mode {file.mode:04o}, expected: root and 0755; on this host: "
            f"chown root:root {entry.target} && chmod 0755 {entry.target}; "
            "then see whether its content was changed: kubewright plan --deep"
        )
