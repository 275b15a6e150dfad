"""The user and the password for a mirror, from the files that people have already: netrc, and Docker's config.json.

Only an entry that names the host counts: netrc's `default` would send a password to any mirror. A file that others can
read is not used. Nothing here prints a user, a password or a line of those files.
"""

from __future__ import annotations

import base64
import binascii
import json
import netrc
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

LOOPBACK = ("localhost", "127.0.0.1", "::1")
"""This machine. `download.client` uses no proxy for these, which could read what is sent over http."""


@dataclass(frozen=True, kw_only=True)
class Login:
    """A user and a password for one host, and the file that holds them."""

    host: str
    user: str = field(repr=False)
    password: str = field(repr=False)
    file: Path

    @property
    def basic(self) -> str:
        """The value of a header `Authorization`."""
        return "Basic " + base64.b64encode(f"{self.user}:{self.password}".encode()).decode()


@dataclass(frozen=True, kw_only=True)
class NoLogin:
    """Why there are no credentials for a host, and what a person can do."""

    host: str
    why: str
    todo: str


@dataclass(frozen=True, kw_only=True)
class _Unusable:
    """An entry for the host that cannot be used."""

    why: str
    todo: str


_Found = Login | _Unusable | None


def login_for(address: str, *, image: bool) -> Login | NoLogin:
    """The credentials for the host of that address. Docker's config is for images; `docker login` wrote it."""
    url = urlsplit(address)
    host = url.hostname or ""
    if not is_private(address):
        return NoLogin(host=host, why="credentials are not sent over http", todo="name the mirror with https://")
    netrc_file = Path(os.environ.get("NETRC") or Path.home() / ".netrc")
    docker_file = Path(os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker") / "config.json"
    readers: list[tuple[Path, Callable[[Path, SplitResult], _Found]]] = [(netrc_file, _in_netrc)]
    if image:
        readers.insert(0, (docker_file, _in_docker_config))
    unusable: list[_Unusable] = []
    for path, read in readers:
        match _usable(path, read(path, url)):
            case Login() as login:
                return login
            case _Unusable() as found:
                unusable.append(found)
    if unusable:
        return NoLogin(host=host, why=unusable[0].why, todo=unusable[0].todo)
    return NoLogin(
        host=host,
        why=f"none in {' and '.join(str(path) for path, _ in readers)}",
        todo=f"add `machine {host} login USER password PASSWORD` to {netrc_file} (mode 0600)"
        + (f", or run docker login {url.netloc}" if image else ""),
    )


def is_private(address: str) -> bool:
    """Whether no third party can read the traffic: over https, or to this machine."""
    url = urlsplit(address)
    return url.scheme == "https" or is_loopback(url.hostname or "")


def is_loopback(host: str) -> bool:
    return host in LOOPBACK


def _usable(path: Path, found: _Found) -> _Found:
    """Credentials that other users of this machine can read are refused."""
    if isinstance(found, Login) and (mode := stat.S_IMODE(path.stat().st_mode)) & 0o077:
        return _Unusable(why=f"others can read {path} (mode {mode:04o})", todo=f"chmod 600 {path}")
    return found


def _in_netrc(path: Path, url: SplitResult) -> _Found:
    if not path.is_file():
        return None
    try:
        hosts = netrc.netrc(str(path)).hosts
    except netrc.NetrcParseError as error:  # its text may quote a password
        return _Unusable(why=f"{path}:{error.lineno} is not netrc's format", todo="correct that line")
    except (OSError, UnicodeDecodeError):
        return _Unusable(why=f"{path} cannot be read", todo="correct the file")
    entries = {name.lower(): entry for name, entry in hosts.items()}
    if (entry := entries.get(url.hostname or "")) is None:
        return None
    user, _, password = entry
    if not user or not password:
        return _Unusable(why=f"the entry in {path} lacks a login or a password", todo="complete it")
    return Login(host=url.hostname or "", user=user, password=password, file=path)


def _in_docker_config(path: Path, url: SplitResult) -> _Found:
    """The `auth` of an entry in `auths`. Helpers (credsStore, credHelpers) are programs: they are not run."""
    if not path.is_file():
        return None
    try:
        config = json.loads(path.read_bytes())
        entries = {_registry(name): entry for name, entry in config.get("auths", {}).items()}
        helpers = {_registry(name): helper for name, helper in config.get("credHelpers", {}).items()}
        store = config.get("credsStore")
    except (OSError, ValueError, AttributeError):
        return _Unusable(why=f"{path} cannot be read as Docker's config.json", todo="correct the file")
    usual = 443 if url.scheme == "https" else 80
    port = url.port or usual
    names = (f"{url.hostname}:{port}", *([url.hostname or ""] if port == usual else []))
    entry = next((entries[name] for name in names if name in entries), None)
    helper = next((helpers[name] for name in names if name in helpers), store if entry is not None else None)
    in_netrc = f"add `machine {url.hostname} login USER password PASSWORD` to ~/.netrc (mode 0600)"
    if isinstance(entry, dict) and entry.get("auth"):
        return _decoded(entry["auth"], path, url)
    if helper:
        return _Unusable(why=f"{path} names a credential helper for it, and kubewright runs none", todo=in_netrc)
    if entry is not None:
        return _Unusable(why=f"the entry in {path} has no `auth`", todo=in_netrc)
    return None


def _decoded(auth: object, path: Path, url: SplitResult) -> Login | _Unusable:
    try:
        user, colon, password = base64.b64decode(str(auth), validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        user = colon = password = ""
    # Some writers pad the password with zero bytes; Docker strips them [docker/cli: configfile, decodeAuth].
    password = password.strip("\0")
    if not user or not colon or not password:
        return _Unusable(why=f"`auth` of the entry in {path} is not USER:PASSWORD in base64", todo="run docker login again")
    return Login(host=url.hostname or "", user=user, password=password, file=path)


def _registry(name: str) -> str:
    """The host and port of a key in `auths`, which may be a URL (https://HOST/v1/)."""
    return name.removeprefix("https://").removeprefix("http://").partition("/")[0].lower()
