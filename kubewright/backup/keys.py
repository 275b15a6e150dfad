"""The password or keys of a backup: from a file, the environment or the terminal. Never from arguments, but for public keys."""

from __future__ import annotations

import getpass
import os
import stat
from collections.abc import Sequence
from pathlib import Path

from kubewright.backup.age import Identity, Lock, Opener, Passphrase, Recipient
from kubewright.errors import BadInput, Failed, Problem

VARIABLE = "KUBEWRIGHT_BACKUP_PASSWORD"
_SHORTEST = 8


def locks(recipients: Sequence[str], password_file: Path | None) -> list[Lock]:
    """For a new backup. BadInput with every problem. A typed password is asked for twice."""
    if recipients and password_file:
        what, allowed = "both recipients and a password", "recipients, or one password"
        raise BadInput([Problem(where="--recipient", what=what, allowed=allowed, todo="leave one of them out")])
    if recipients:
        return _recipients(recipients)
    password = _given(password_file) or _typed(twice=True)
    if len(password) < _SHORTEST:
        what, allowed = f"a password of {len(password)} characters", f"at least {_SHORTEST}"
        raise BadInput([Problem(where="the backup's password", what=what, allowed=allowed, todo="choose a longer one")])
    return [Passphrase(password)]


def openers(identity: Path | None, password_file: Path | None) -> list[Opener]:
    """For a backup that is there. BadInput when a file can't be used."""
    if identity is not None:
        return list(_identities(identity))
    return [Passphrase(_given(password_file) or _typed(twice=False))]


def _recipients(texts: Sequence[str]) -> list[Lock]:
    found: list[Lock] = []
    problems = []
    for text in texts:
        try:
            found.append(Recipient.parse(text))
        except ValueError as error:
            # A private key given by mistake is not printed.
            shown = text if text.lower().startswith("age1") else "not shown"
            problems.append(
                Problem(where="--recipient", what=f"no recipient ({shown}): {error}", allowed="age1..., a public key of age",
                        todo="take the one that age-keygen printed as the public key")
            )  # fmt: skip
    if problems:
        raise BadInput(problems)
    return found


def _identities(path: Path) -> list[Identity]:
    where, allowed = str(path), "a file of age-keygen: AGE-SECRET-KEY-1..., mode 0600"
    lines = [line.strip() for line in _private(path, allowed).decode(errors="replace").splitlines()]
    try:
        found = [Identity.parse(line) for line in lines if line and not line.startswith("#")]
    except ValueError as error:
        raise BadInput([Problem(where=where, what=str(error), allowed=allowed, todo="name another file")]) from None
    if not found:
        raise BadInput([Problem(where=where, what="no key", allowed=allowed, todo="name another file")])
    return found


def _given(path: Path | None) -> bytes:
    if path is not None:
        allowed = "a file with the password (mode 0600)"
        if password := _private(path, allowed).strip():
            return password
        raise BadInput([Problem(where=str(path), what="an empty password", allowed=allowed, todo="write one there")])
    return os.environ.get(VARIABLE, "").encode()


def _private(path: Path, allowed: str) -> bytes:
    try:
        if path.is_file() and (mode := stat.S_IMODE(path.stat().st_mode)) & 0o077:
            what = f"others can read it (mode {mode:04o})"
            raise BadInput([Problem(where=str(path), what=what, allowed=allowed, todo=f"chmod 0600 {path}")])
        return path.read_bytes()
    except OSError as error:
        what = (error.strerror or "unreadable").lower()
        raise BadInput([Problem(where=str(path), what=what, allowed=allowed, todo="name another file")]) from None


def _typed(*, twice: bool) -> bytes:
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        raise Failed(
            "a backup is encrypted, and there is no terminal to ask for its password; "
            f"name a file with --password-file, or set {VARIABLE}"
        ) from None
    password = getpass.getpass("\rbackup password: ").strip()
    if twice and password != getpass.getpass("the same again: ").strip():
        raise Failed("the two passwords differ; nothing was written")
    return password.encode()
