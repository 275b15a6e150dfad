"""Simultaneous questions to one host become one command, whose parts run in parallel on the host."""

from __future__ import annotations

import base64
import shlex
from collections.abc import Sequence

import gevent
from gevent.event import AsyncResult

from kubewright.errors import Failed
from kubewright.hosts.remote import Answer, Remote

LIMIT = 8
"""Seconds for each question: then its process is ended, and the exit status is 124."""
_TIMED_OUT = 124
_MARK = "kubewright-answer"

# `$$` is in the name of the folder. A killed shell leaves it in /run until the next boot.
_ASK = f"""export LC_ALL=C PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin; umask 077
d=$(mktemp -d /run/kubewright-verify.XXXXXX) && cd "$d" || exit 71
trap 'cd /; rm -rf "$d"' EXIT
ask() {{ timeout -k 1 {LIMIT} sh -c "$2" >"$1.out" 2>"$1.err" </dev/null; echo $? >"$1.rc"; }}
"""
_TELL = f"""wait
i=0; while [ -f $i.rc ]; do
  echo "{_MARK} $i $(cat $i.rc) $(base64 -w0 <$i.out) $(base64 -w0 <$i.err)"; i=$((i+1))
done
"""


def script(lines: Sequence[str]) -> str:
    """Shell that runs `lines` in parallel and prints each one's number, exit status, output and errors."""
    return _ASK + "".join(f"ask {i} {shlex.quote(line)} &\n" for i, line in enumerate(lines)) + _TELL


def answers(said: str, count: int) -> list[Answer]:
    """The output of `script` for `count` lines, parsed. Failed when it has another form."""
    rows = [line.split(" ") for line in said.splitlines() if line.startswith(f"{_MARK} ")]
    if [row[1] for row in rows] != [str(i) for i in range(count)]:
        raise Failed(f"its answers can't be read ({said[-200:]!r})")
    return [_answer(int(row[2]), *(base64.b64decode(text).decode(errors="replace") for text in row[3:5])) for row in rows]


def _answer(status: int, stdout: str, stderr: str) -> Answer:
    silent = status == _TIMED_OUT and not stderr
    return Answer(status=status, stdout=stdout, stderr=f"no answer in {LIMIT} s" if silent else stderr)


class Questions:
    """Asks one host. Greenlets that ask before the next turn of the event loop share a round trip."""

    def __init__(self, remote: Remote) -> None:
        self.remote = remote
        self._due: dict[str, AsyncResult[Answer]] = {}

    def ask(self, line: str) -> Answer:
        """The answer to `line`, a command for /bin/sh. Failed when the host does not answer."""
        if line not in self._due:
            self._due[line] = AsyncResult()
            if len(self._due) == 1:
                gevent.spawn(self._send)
        answer: Answer = self._due[line].get()
        return answer

    def _send(self) -> None:
        due, self._due = self._due, {}
        try:
            # As standard input, since a command line has a limited length.
            said = self.remote.run("exec sh", [script(list(due)).encode()], timeout=LIMIT + 5)
            if said.status != 0:
                raise Failed(f"{self.remote.name}: the checks could not run: {said.stderr.strip() or said.stdout.strip()}")
            for result, answer in zip(due.values(), answers(said.stdout, len(due)), strict=True):
                result.set(answer)
        except Exception as error:  # each waiting check gets the error
            for result in due.values():
                result.set_exception(error)
