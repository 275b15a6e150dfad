"""The one question about files, and its answer: kind, mode and owner of each, and of what each link leads to."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kubewright.observe.observed import Entry
from kubewright.observe.text import entries

_FORMAT = r"-maxdepth 0 -printf '%p\t%y\t%m\t%u\t%g\t%s\t%l\n' 2>/dev/null"
_BEHIND = "behind the links:"
KINDS = {"f": "regular file", "d": "folder"}


def question(paths: Sequence[str], links: Sequence[str]) -> str:
    """Shell that lists `paths` and `links`, then what `links` lead to. What is not there is not listed."""
    one, other = (" ".join(map(shlex.quote, some)) for some in ((*paths, *links), links))
    # Without a path, find would list the folder that it runs in.
    return f"find /dev/null {one} {_FORMAT}; echo '{_BEHIND}'; find -L /dev/null {other} {_FORMAT}; :"


@dataclass(frozen=True, kw_only=True)
class Files:
    """Entries by path. `behind`: of what a link leads to, by the link's path."""

    there: Mapping[str, Entry]
    behind: Mapping[str, Entry]


def asked(host: Any, files: str) -> Files:
    """The answer to `files`, a `question`. AssertionError when there is none."""
    said = host.run(files)
    there, mark, behind = said.stdout.partition(f"{_BEHIND}\n")
    assert said.rc == 0 and mark, f"find does not list its files ({said.stderr.strip()}); log in to this host, look at its disks"
    return Files(there=entries(there.splitlines(), []), behind=entries(behind.splitlines(), []))
