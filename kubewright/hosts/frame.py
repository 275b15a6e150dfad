"""The frame of every remote command: root, one environment, and marks around its output.

A host's login shell, PAM (/etc/environment), sudo and ~/.bashrc decide about environment and umask, and may print lines.
None of that reaches a command or its answer: the login shell only starts this frame, which starts the command.
"""

from __future__ import annotations

import base64
import secrets
import shlex
from dataclasses import dataclass

from kubewright.errors import Failed

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
ENVIRONMENT = {"LC_ALL": "C", "HOME": "/root", "PATH": PATH}
"""The whole environment of a command, besides the host's proxy settings under names of our own: see `proxy.sh`."""
INPUT = b"--kubewright--\n"
"""Goes before a command's standard input."""
_NOISE = 4096
_PROXIES = tuple(name for low in ("http_proxy", "https_proxy", "all_proxy", "no_proxy") for name in (low, low.upper()))

# Neither has a single quote, a backslash, a newline or an exclamation mark, so every login shell passes them unchanged.
# /usr/bin/env and `exec`, because the login may export shell functions of those names.
_OUTER = (
    "exec /usr/bin/env -i "
    + " ".join(f"{name}={value}" for name, value in ENVIRONMENT.items())
    + "".join(f' ${{{name}:+"host_{name}=${name}"}}' for name in _PROXIES)
    + ' /bin/sh -c "$0" kubewright "$1" "$2"'
)
# sudo without a password prompt leaves the password in standard input: input before the mark is not the command's.
_SKIP = f'while IFS= read -r l; do [ "$l" = {INPUT.decode().strip()} ] && break; done; '
_DECODE = 's=$(printf %s "$1" | base64 -d) && umask 022 && '
# "$2" is the mark.
_MARKED = 'echo "$2" && echo "$2" >&2 && /bin/sh -c "$s"; c=$?; echo "$2"; exit $c'
_PLAIN = 'exec /bin/sh -c "$s"'


@dataclass(frozen=True, kw_only=True)
class Command:
    """The command for sshd to run as root, the text before its standard input, and the mark around its output."""

    line: str
    head: bytes
    mark: bytes


def command(script: str, *, user: str, password: str | None, marked: bool = True) -> Command:
    """The command that runs `script`. A sudo `password` is the first line of standard input: every user of a host can read
    arguments. `marked`: with the mark before and after standard output, and before standard error.
    """
    sudo, mark = user != "root", f"--kubewright-{secrets.token_hex(8)}--"
    inner = (_SKIP if sudo and password is not None else "") + _DECODE + (_MARKED if marked else _PLAIN)
    encoded = base64.b64encode(script.encode()).decode()
    start = f"/bin/sh -c {shlex.quote(_OUTER)} {shlex.quote(inner)} {encoded} {mark}"
    if not sudo:
        line, head = f"exec {start}", b""
    elif password is None:
        line, head = f"exec sudo -n {start}", b""
    else:
        line, head = f"exec sudo -k -S -p '' {start}", password.encode() + b"\n" + INPUT
    return Command(line=line, head=head, mark=mark.encode() + b"\n")


class Unframe:
    """Takes a marked output in blocks, and gives the part between the marks block by block."""

    def __init__(self, mark: bytes) -> None:
        self.begun = self.ended = False
        self.noise = b""
        """The login's output before the command; only the beginning of a long one."""
        self._mark, self._held = mark, b""

    def feed(self, block: bytes) -> bytes:
        """The command's part of the block. A possible beginning of a mark is kept until the next block."""
        data, found = self._held + block, b""
        self._held = b""
        if not self.begun:
            noise, mark, rest = data.partition(self._mark)
            self.begun = bool(mark)
            if not mark:
                self._held = self._partial(data)
                noise = data.removesuffix(self._held)
            self.noise = (self.noise + noise)[:_NOISE]
            data = rest
        if self.begun and not self.ended:
            found, mark, _ = data.partition(self._mark)
            self.ended = bool(mark)
            if not mark:
                self._held = self._partial(data)
                found = data.removesuffix(self._held)
        return found

    def rest(self) -> bytes:
        """The kept bytes, at the end of the output: they were no mark."""
        held, self._held = self._held, b""
        return held

    def _partial(self, data: bytes) -> bytes:
        """The end of `data` that may be the beginning of the mark."""
        return next((self._mark[:n] for n in range(len(self._mark) - 1, 0, -1) if data.endswith(self._mark[:n])), b"")


def between(mark: bytes, output: bytes) -> tuple[bytes, Unframe]:
    """The part between the marks of a whole output; everything after the first mark when the second is missing."""
    unframe = Unframe(mark)
    return unframe.feed(output) + (unframe.rest() if unframe.begun else b""), unframe


def after(mark: bytes, errors: bytes) -> str:
    """Standard error without the login's output before the command."""
    noise, found, said = errors.partition(mark)
    return (said if found else noise).decode(errors="replace")


def no_start(name: str, user: str, status: int, noise: bytes, errors: bytes) -> Failed:
    """The error of a host where the command never began: its login or its sudo ended before."""
    told = [*noise.decode(errors="replace").splitlines(), *errors.decode(errors="replace").splitlines()]
    said = "; ".join(line.strip() for line in told if line.strip())[-400:] or f"exit status {status}"
    if "must have a tty" in said:
        return Failed(f"{name}: sudo wants a terminal ({said}); add to its sudoers, by visudo: Defaults:{user} !requiretty")
    if "sudo:" in said:
        return Failed(
            f"{name}: sudo refused ({said}); let the login user be root or have sudo, "
            "and give its password by ssh.sudo_password_file or ssh.sudo_password_env if sudo asks for one"
        )
    return Failed(
        f"{name}: the login of {user} runs no commands ({said}); give that user a shell (/bin/sh, /bin/bash) "
        "whose start-up files do not end it (~/.bashrc), or name another user by ssh.user"
    )
