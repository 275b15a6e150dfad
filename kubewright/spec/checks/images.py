"""Mirrors, registries and archives of images: their names, files and credentials."""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from kubewright.artifacts import archives
from kubewright.spec.checks.reading import content_of
from kubewright.spec.images import Registry, canonical, host_of, plain_host
from kubewright.spec.model import ClusterSpec
from kubewright.spec.wording import Finding, Place, shown
from pki import faults
from pki.fault import Fault

_ALONE = "a file that you alone can read (mode 0600)"


def mirrors(spec: ClusterSpec) -> Iterator[Finding]:
    """Each registry once, each mirror of it once, and http only where it is asked for."""
    yield from _twice([(("images", "mirrors", name), canonical(name)) for name in spec.images.mirrors])
    yield from (found for name in spec.images.mirrors for found in _default_port(("images", "mirrors", name), name, ":443"))
    plain = {plain_host(registry) for registry in spec.images.registries if registry.plain_http}
    for name, urls in spec.images.mirrors.items():
        yield from _twice(
            [(("images", "mirrors", name, i), url.rstrip("/")) for i, url in enumerate(urls)], "a mirror that is named twice"
        )
        for index, url in enumerate(urls):
            if url.startswith("http://") and host_of(url) not in plain:
                yield Finding(
                    at=("images", "mirrors", name, index),
                    what=f"a mirror without TLS ({shown(url, limit=200)})",
                    allowed="https, or http for a host with `plain_http: true` under images.registries",
                    todo=f"write https, or add {{host: {host_of(url)}, plain_http: true}} there",
                )


def registries(spec: ClusterSpec) -> Iterator[Finding]:
    every = spec.images.registries
    yield from _twice([(("images", "registries", i, "host"), plain_host(registry)) for i, registry in enumerate(every)])
    for index, registry in enumerate(every):
        at = ("images", "registries", index)
        yield from _default_port((*at, "host"), registry.host, ":80" if registry.plain_http else ":443")
        yield from _ca(at, registry)
        yield from _login(at, registry)


def archives_usable(spec: ClusterSpec) -> Iterator[Finding]:
    """Only the archives' manifests are read."""
    named = [(("images", "archives", i), archives.name_of(path)) for i, path in enumerate(spec.images.archives)]
    yield from _twice(named, "the file name of another archive")
    for index, path in enumerate(spec.images.archives):
        try:
            archives.read(path)
        except archives.Unusable as why:
            yield Finding(
                at=("images", "archives", index),
                what=f"{why} ({shown(str(path), limit=200)})",
                allowed="an uncompressed archive of images: docker save, or an OCI layout as tar",
                todo="correct the path, or write the archive again",
            )


def _default_port(at: Place, host: str, port: str) -> Iterator[Finding]:
    # containerd looks for the folder of the name as an image has it [containerd 2.4.2: core/remotes/docker/config/hosts.go].
    if host.endswith(port):
        yield Finding(
            at=at,
            what=f"a registry with the default port ({host})",
            allowed="HOST, or HOST:PORT with another port",
            todo=f"write {host.removesuffix(port)}, in the names of images too",
        )


def _twice(named: Sequence[tuple[Place, str]], what: str = "a registry that is named twice") -> Iterator[Finding]:
    counted = Counter(name for _, name in named)
    seen: set[str] = set()
    for at, name in named:
        if counted[name] > 1 and name in seen:
            yield Finding(at=at, what=f"{what} ({shown(name, limit=200)})", allowed="each once", todo="remove one")
        seen.add(name)


def _ca(at: Place, registry: Registry) -> Iterator[Finding]:
    path = registry.ca
    if path is None:
        return
    content = content_of(path)
    fault = content if isinstance(content, Fault) else faults.read_certificates(content)
    if isinstance(fault, Fault):
        what = f"{fault.what} ({shown(str(path), limit=200)})"
        yield Finding(at=(*at, "ca"), what=what, allowed=fault.allowed, todo=fault.todo)
    if registry.plain_http:
        yield Finding(
            at=(*at, "ca"),
            what="a CA for a registry without TLS",
            allowed="ca, or plain_http: true",
            todo="remove one of them",
        )


def _login(at: Place, registry: Registry) -> Iterator[Finding]:
    given = [name for name in ("password_file", "password_env") if getattr(registry, name) is not None]
    if len(given) > 1:
        yield Finding(
            at=(*at, "password_env"),
            what="two sources of one password",
            allowed="password_file or password_env",
            todo="remove one of them",
        )
    if registry.user is not None and not given:
        yield Finding(
            at=(*at, "user"),
            what=f"a user without a password ({shown(registry.user)})",
            allowed="user together with password_file or password_env",
            todo="add `password_file:`",
        )
    if given and registry.user is None:
        yield Finding(at=(*at, given[0]), what="a password without a user", allowed="together with user", todo="add `user:`")
    if registry.user is not None and registry.plain_http:
        yield Finding(
            at=(*at, "plain_http"),
            what="credentials for a registry without TLS: anybody on the way could read them",
            allowed="plain_http without user and password",
            todo="remove one of them",
        )
    if registry.password_file is not None:
        yield from _password_file((*at, "password_file"), registry.password_file)
    elif registry.password_env is not None and not _usable(os.environ.get(registry.password_env, "")):
        there = registry.password_env in os.environ
        yield Finding(
            at=(*at, "password_env"),
            what="the variable is empty, or not one line of text"
            if there
            else f"the variable is not set ({registry.password_env})",
            allowed="an environment variable that holds the password",
            todo=f"export {registry.password_env} in the shell that runs this",
        )


def _password_file(at: Place, path: Path) -> Iterator[Finding]:
    place = shown(str(path), limit=200)
    content = content_of(path)
    if isinstance(content, Fault):
        yield Finding(
            at=at,
            what=f"a password file that can't be used ({place}: {content.what})",
            allowed=_ALONE,
            todo="write the password to it, then run chmod 0600 on it",
        )
        return
    if (mode := stat.S_IMODE(path.stat().st_mode)) & 0o077:
        what = f"a password that others can read ({place}: mode {mode:04o})"
        yield Finding(at=at, what=what, allowed=_ALONE, todo=f"chmod 0600 {place}")
    if not _usable(content.decode(errors="replace").rstrip("\n")):
        yield Finding(
            at=at, what=f"empty, or not one line of text ({place})", allowed="the password alone", todo="write it again"
        )


def _usable(password: str) -> bool:
    return bool(password) and password.isprintable()
