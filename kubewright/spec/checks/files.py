"""Files that a cluster.yaml names: they must exist before any host is contacted."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path

from kubewright.spec import ssh_key
from kubewright.spec.model import ClusterSpec
from kubewright.spec.sections import Ssh
from kubewright.spec.wording import Finding, Place, shown


def ssh_files(spec: ClusterSpec) -> Iterator[Finding]:
    """Keys, known hosts and sudo passwords, each file once, where it is named."""
    places: list[tuple[Place, Ssh]] = [(("ssh",), spec.ssh)]
    places += [(("hosts", index, "ssh"), host.ssh) for index, host in enumerate(spec.hosts)]
    seen: set[tuple[str, Path]] = set()
    for place, ssh in places:
        for name, path, check in (
            ("key", ssh.key, _key),
            ("known_hosts", ssh.known_hosts, _known_hosts),
            ("sudo_password_file", ssh.sudo_password_file, _sudo_password),
        ):
            if path is not None and (name, path) not in seen:
                seen.add((name, path))
                yield from check((*place, name), path, spec)


def bundle_there(spec: ClusterSpec) -> Iterator[Finding]:
    folder = spec.artifacts.directory
    if folder is not None and not _is_dir(folder):
        yield Finding(
            at=("artifacts", "directory"),
            what=f"no such folder ({shown(str(folder), limit=200)})",
            allowed="a folder with an unpacked bundle",
            todo="unpack a bundle with a SHA256SUMS there, or correct the path",
        )


def _key(at: Place, path: Path, spec: ClusterSpec) -> Iterator[Finding]:
    reason = _unread(path)
    if reason:
        if spec.lab:
            todo = "start the lab, which makes it: kubewright lab up"
        elif ".vagrant" in path.parts:
            todo = "start the machines, which makes it: vagrant up"
        else:
            todo = "correct the path, or make a key there with ssh-keygen"
        yield _unreadable(at, "a key file", path, reason, "a private key that you can read", todo)
    elif found := ssh_key.fault(path):
        yield _unreadable(at, "a key file", path, found.why, "a private key in OpenSSH's format, mode 0600", found.todo)


def _known_hosts(at: Place, path: Path, spec: ClusterSpec) -> Iterator[Finding]:
    reason = _unread(path)
    if reason:
        todo = "collect the hosts' keys there with ssh-keyscan, and compare them with the hosts' own"
        if spec.lab:
            todo = "start the lab, which makes it: kubewright lab up"
        yield _unreadable(at, "a known_hosts file", path, reason, "a file that you can read", todo)


def _sudo_password(at: Place, path: Path, spec: ClusterSpec) -> Iterator[Finding]:
    allowed = "a file that you alone can read (mode 0600)"
    reason = _unread(path)
    if reason:
        yield _unreadable(
            at, "a sudo password file", path, reason, allowed, "write the password to it, then run chmod 0600 on it"
        )
        return
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        place = shown(str(path), limit=200)
        yield Finding(
            at=at,
            what=f"a password that others can read ({place}: mode {mode:04o})",
            allowed=allowed,
            todo=f"chmod 0600 {place}",
        )


def _unreadable(at: Place, kind: str, path: Path, reason: str, allowed: str, todo: str) -> Finding:
    return Finding(at=at, what=f"{kind} that can't be used ({shown(str(path), limit=200)}: {reason})", allowed=allowed, todo=todo)


def _unread(path: Path) -> str:
    """Why the file can't be read, empty when it can."""
    try:
        # A named pipe would wait for a writer.
        if not path.is_file():
            return "no regular file" if path.exists() else "no such file"
        with path.open("rb") as file:
            file.read(16)
    except OSError as error:
        return (error.strerror or "unreadable").lower()
    except ValueError:  # a path that can't be encoded
        return "no such file"
    return ""


def _is_dir(path: Path) -> bool:
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False
