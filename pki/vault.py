"""The private store as an Ansible Vault file: read and written by `ansible-vault`, with one password prompt per run.

The program gets password and content through pipes: neither is in its arguments, its environment or on a disk.
"""

from __future__ import annotations

import getpass
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

from kubewright.errors import BadInput, Failed, Problem

HEAD = b"$ANSIBLE_VAULT;"
"""The first bytes of a vault file (Ansible documentation, "Format of files encrypted with Ansible Vault")."""
PROGRAM = Path(sys.executable).with_name("ansible-vault")
CONFIG = Path(__file__).with_name("ansible.cfg")

Password = Callable[[], bytes]


class Vault:
    """One password, asked for at its first use and kept in memory. The last opened content is cached."""

    def __init__(self, ask: Password) -> None:
        self._ask = ask
        self._password: bytes | None = None
        self._last: tuple[bytes, bytes] = (b"", b"")

    @property
    def password(self) -> bytes:
        if self._password is None:
            self._password = self._ask()
        return self._password

    def opened(self, sealed: bytes, where: Path) -> bytes:
        """The decrypted content of a vault file. Failed when the password is wrong."""
        if sealed != self._last[0]:
            done = self._run("decrypt", sealed)
            if done.returncode:
                self._password = None
                wrong = b"Decryption failed" in done.stderr
                raise Failed(
                    f"{where}: {'the vault password is wrong' if wrong else 'not a whole vault file'}; nothing was changed; "
                    f"{'try another (secrets.password_file in cluster.yaml)' if wrong else 'bring it back from its backup'}"
                )
            self._last = sealed, done.stdout
        return self._last[1]

    def sealed(self, content: bytes) -> bytes:
        done = self._run("encrypt", content)
        if done.returncode or not done.stdout.startswith(HEAD):
            raise Failed(f"{PROGRAM} could not encrypt the store ({done.stderr.decode(errors='replace').strip()})")
        self._last = done.stdout, content
        return done.stdout

    def _run(self, verb: str, content: bytes) -> subprocess.CompletedProcess[bytes]:
        environment = {k: v for k, v in os.environ.items() if not k.startswith("ANSIBLE_")} | {"ANSIBLE_CONFIG": str(CONFIG)}
        password, ends = self.password, os.pipe()
        # File objects: gevent's os.close waits for its loop to turn, which waits for the program, which waits for the end of the
        # password: for ever.
        with os.fdopen(ends[0], "rb") as reader:
            with os.fdopen(ends[1], "wb") as writer:
                writer.write(password)
            given = reader.fileno()
            command = [str(PROGRAM), verb, "--vault-password-file", f"/dev/fd/{given}", "--output", "-", "-"]
            return subprocess.run(command, input=content, capture_output=True, pass_fds=[given], env=environment, check=False)


def password_from(path: Path | None) -> Password:
    """The vault's password from a file, or from its output if the file is executable; without a file, from the terminal.

    A program whose name ends in `-client` is given `--vault-id kubewright`, as ansible's password clients are.
    """
    return _prompted if path is None else lambda: _from_file(path)


def new_password(path: Path | None) -> Password:
    """As `password_from`; a typed password is asked for twice."""
    return _prompted_twice if path is None else lambda: _from_file(path)


def _from_file(path: Path) -> bytes:
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        if not path.is_file():
            raise _bad(path, "no regular file", "name a file, or a program that prints the password")
        if mode & 0o100:
            said = _printed(path)
        elif mode & 0o077:
            raise _bad(path, f"a password that others can read (mode {mode:04o})", f"chmod 0600 {path}")
        else:
            said = path.read_bytes()
    except OSError as error:
        raise _bad(path, (error.strerror or "unreadable").lower(), "correct secrets.password_file in cluster.yaml") from None
    return _usable(said.strip(), path)


def _printed(path: Path) -> bytes:
    arguments = ["--vault-id", "kubewright"] if path.stem.endswith("-client") else []
    done = subprocess.run([str(path), *arguments], stdout=subprocess.PIPE, check=False)
    if done.returncode:
        raise Failed(f"{path}: the program for the vault's password failed (exit {done.returncode}); nothing was changed")
    return done.stdout


def _usable(password: bytes, where: Path | None) -> bytes:
    # The pipe to ansible-vault is filled before ansible-vault reads it.
    if not password or len(password) > 4096:
        what = "an empty password" if not password else "a password of more than 4096 bytes"
        raise _bad(where, what, "choose another")
    return password


@cache
def _prompted() -> bytes:
    return _usable(_typed("vault password (kubewright's private keys): "), None)


def _prompted_twice() -> bytes:
    first = _typed("new vault password: ")
    if first != _typed("the same again: "):
        raise Failed("the two passwords differ; nothing was changed")
    return _usable(first, None)


def _typed(question: str) -> bytes:
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        raise Failed(
            "the private keys are in a vault, and there is no terminal to ask for its password; "
            "name a file with secrets.password_file in cluster.yaml"
        ) from None
    return getpass.getpass(f"\r{question}").strip().encode()


def _bad(where: Path | None, what: str, todo: str) -> BadInput:
    allowed = "a file with the password (mode 0600), or an executable that prints it"
    return BadInput([Problem(where=str(where or "the vault's password"), what=what, allowed=allowed, todo=todo)])
