"""Connects to every host's SSH port in parallel, before any handshake. SSH uses the same connections."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gevent
from paramiko import AuthenticationException
from pyinfra.api.exceptions import ConnectError
from pyinfra.connectors.sshuserclient.client import get_ssh_config

from kubewright.errors import BadInput, Problem
from kubewright.spec import ClusterSpec, HostSpec
from kubewright.spec.sections import Ssh

# A kernel accepts a connection at once, even on a busy host. Within 5 seconds it got three SYNs (TCP repeats after 1 and 3
# seconds): a host that is silent until then is off. sshd's handshake, which needs the host's processors, has a
# limit of its own. The connection is kept for SSH: OpenSSH penalises clients that connect and disconnect.
ANSWER_TIMEOUT = 5
"""Seconds."""


_NUMBERS = ("port", "connecttimeout", "serveraliveinterval")
"""pyinfra's pattern for whole numbers."""


def is_direct(ssh: Ssh) -> bool:
    """Whether SSH connects directly to `ssh.host`, with no jump host or proxy from cluster.yaml or ~/.ssh/config.

    BadInput when ~/.ssh/config can't be read as pyinfra, which connects, reads it.
    """
    own = _own(str(ssh.host))
    return not (ssh.jump or own.get("proxyjump") or own.get("proxycommand")) and own.get("hostname", ssh.host) == ssh.host


def _own(host: str) -> dict[str, Any]:
    """The settings for `host` in ~/.ssh/config and the files that it includes."""
    path = Path("~/.ssh/config").expanduser()
    try:
        config = get_ssh_config(str(path))
        found = dict(config.lookup(host)) if config else {}
        for setting in _NUMBERS:
            int(found.get(setting, 0))
    except Exception as error:  # an Include loop has no class of its own
        raise BadInput(
            [
                Problem(
                    where=str(path),
                    what=f"can't be read ({error})",
                    allowed=f"OpenSSH's settings, {', '.join(_NUMBERS)} as whole numbers",
                    todo="correct it, or the file that it includes",
                )
            ]
        ) from error
    return found


def sockets(spec: ClusterSpec, hosts: Sequence[HostSpec]) -> tuple[dict[str, socket.socket], list[Problem]]:
    """A connection to each host that answers, and the error of each other host, by name."""
    jobs = {host.name: gevent.spawn(_open, spec.ssh_of(host)) for host in hosts}
    gevent.joinall(list(jobs.values()))
    answers = {name: job.get() for name, job in jobs.items()}
    problems = [unreachable(spec, name, answer) for name, answer in answers.items() if isinstance(answer, OSError)]
    return {name: answer for name, answer in answers.items() if not isinstance(answer, OSError)}, problems


def _open(ssh: Ssh) -> socket.socket | OSError:
    try:
        return socket.create_connection((str(ssh.host), ssh.port), timeout=ANSWER_TIMEOUT)
    except OSError as error:
        return error


def unreachable(spec: ClusterSpec, name: str, error: Exception) -> Problem:
    """The problem of a host whose connection failed with `error`."""
    ssh = spec.ssh_of(next(host for host in spec.hosts if host.name == name))
    if "host key" in str(error).lower():
        known = ssh.known_hosts or "~/.ssh/known_hosts"
        return Problem(
            where=name,
            what=f"its SSH host key is not the known one ({ssh.host}:{ssh.port}): {error}",
            allowed=f"the key in {known}",
            todo=f"compare it with the host's own, by another way than SSH, then correct {known}",
        )
    if isinstance(error.__context__, AuthenticationException):
        return Problem(
            where=name,
            what=f"refuses the login of {ssh.user} ({ssh.user}@{ssh.host}:{ssh.port}): {error}",
            allowed=f"a key that is in the ~/.ssh/authorized_keys of {ssh.user}",
            todo="correct ssh.key or ssh.user in cluster.yaml, or put the public key there (ssh-copy-id); "
            "for a key with a passphrase, use ssh-add",
        )
    if not isinstance(error, ConnectError | OSError):
        return Problem(
            where=name,
            what=f"no connection can be made ({ssh.user}@{ssh.host}:{ssh.port}, key {ssh.key or 'of the agent'}): "
            f"{str(error) or type(error).__name__}",
            allowed="a private key in OpenSSH's format",
            todo="correct ssh in cluster.yaml",
        )
    why = f"silent for {ANSWER_TIMEOUT} seconds" if isinstance(error, TimeoutError) else str(error)
    return Problem(
        where=name,
        what=f"does not answer over SSH ({ssh.user}@{ssh.host}:{ssh.port}): {why}",
        allowed="every host of cluster.yaml must answer",
        todo=f"start it: kubewright lab start --name {spec.lab} {name}"
        if spec.lab
        else "start it, or correct ssh in cluster.yaml",
    )
