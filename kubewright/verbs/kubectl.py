"""kubectl on a master that answers, over OpenSSH: standard input, output, exit code and a terminal pass through."""

from __future__ import annotations

import contextlib
import os
import shlex
import subprocess
import sys
import threading
from collections.abc import Sequence
from io import BufferedReader
from pathlib import Path
from typing import IO, cast

from kubewright import lab
from kubewright.errors import Failed
from kubewright.hosts.frame import Command, Unframe, after, between, command, no_start
from kubewright.hosts.inventory import sudo_password
from kubewright.spec import ClusterSpec, HostSpec, load

Captured = subprocess.CompletedProcess[bytes]

SSH_FAILED = 255
_OPTIONS = tuple(
    word
    for option in ("StrictHostKeyChecking=yes", "ConnectTimeout=5", "BatchMode=yes", "LogLevel=ERROR", "ServerAliveInterval=5")
    for word in ("-o", option)
)
_ADMIN = "/usr/local/bin/kubectl --kubeconfig=/etc/kubernetes/admin.conf"
_PROBE = f"{_ADMIN} get --raw /readyz --request-timeout=5s >/dev/null 2>&1"


def _ssh(spec: ClusterSpec, host: HostSpec, *, terminal: bool) -> list[str]:
    ssh = spec.ssh_of(host)
    options = [*_OPTIONS, "-p", str(ssh.port), "-l", ssh.user]
    options += ["-i", str(ssh.key), "-o", "IdentitiesOnly=yes"] if ssh.key else []
    options += ["-o", f"UserKnownHostsFile={_config_word(str(ssh.known_hosts))}"] if ssh.known_hosts else []
    options += ["-o", f"ProxyCommand={_through(ssh.jump)}"] if ssh.jump else []
    return ["ssh", *options, "-tt" if terminal else "-T", str(ssh.host)]


def _config_word(path: str) -> str:
    """A path as one word of OpenSSH's configuration, in which `%` and spaces have meanings."""
    return '"' + path.replace("%", "%%") + '"'


def _through(jump: str) -> str:
    """What `ssh -J` would run, but with a user name like CORP\\alice in quotes: OpenSSH gives it to a shell as it is."""
    user, _, where = jump.rpartition("@")
    name, _, port = where.partition(":")
    words = ["ssh", *_OPTIONS, *(["-l", user] if user else []), *(["-p", port] if port else [])]
    return f"exec {shlex.join(words).replace('%', '%%')} -W '[%h]:%p' {name}"


def _command(spec: ClusterSpec, host: HostSpec, script: str, password: str | None, *, marked: bool = True) -> Command:
    return command(script, user=spec.ssh_of(host).user, password=password, marked=marked)


def _feed(pipe: IO[bytes], head: bytes, stdin: bytes | None) -> None:
    """`head`, then `stdin` or, without one, this process's own standard input."""
    with contextlib.suppress(BrokenPipeError), pipe:
        pipe.write(head)
        if stdin is not None:
            pipe.write(stdin)
            return
        pipe.flush()
        while block := os.read(sys.stdin.fileno(), 1 << 16):
            pipe.write(block)
            pipe.flush()


def _run(ssh: list[str], asked: Command, stdin: bytes | None) -> int:
    """Run the command in `asked`, with its output without the marks. Returns its exit status."""
    own = stdin is None and not asked.head
    process = subprocess.Popen(
        [*ssh, asked.line], stdin=None if own else subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None and process.stderr is not None
    if process.stdin is not None:
        threading.Thread(target=_feed, args=(process.stdin, asked.head, stdin), daemon=True).start()
    errors = threading.Thread(target=_copy, args=(cast(BufferedReader, process.stderr), 2, asked.mark))
    errors.start()
    try:
        _copy(cast(BufferedReader, process.stdout), 1, asked.mark)
    except BrokenPipeError:  # `| head`
        process.stdout.close()
    errors.join()
    return process.wait()


def _copy(pipe: BufferedReader, to: int, mark: bytes) -> None:
    """The output after the mark; everything when there is no mark, since it has ssh's own error."""
    unframe = Unframe(mark)
    while block := pipe.read1(1 << 16):  # not os.read: where gevent has patched subprocess, it does not wait
        _write(to, unframe.feed(block))
    rest = unframe.rest()
    if unframe.begun:
        _write(to, rest)
    elif to == 2:
        _write(to, unframe.noise + rest)


def _write(to: int, data: bytes) -> None:
    while data:
        data = data[os.write(to, data) :]


def kubectl(inventory: Path, arguments: list[str], stdin: bytes | None = None) -> int:
    """Run kubectl on the first master that answers, and return its exit status. Failed, with each one's reason, when none
    does."""
    spec = load(inventory)
    terminal = stdin is None and sys.stdin.isatty() and sys.stdout.isatty()
    with _where_hosts_are(spec):
        host, password = _master(spec)
        if terminal and password is None:
            asked = _command(spec, host, _kubectl(arguments), password, marked=False)
            return subprocess.run([*_ssh(spec, host, terminal=True), asked.line], check=False).returncode
        return _run(_ssh(spec, host, terminal=False), _command(spec, host, _kubectl(arguments), password), stdin)


def captured(spec: ClusterSpec, arguments: Sequence[str], stdin: bytes = b"") -> Captured:
    """The same, but returns kubectl's output. Failed when no master answers."""
    with _where_hosts_are(spec):
        host, password = _master(spec)
        return _captured(spec, host, _kubectl(arguments), password, stdin)


def captured_on(
    spec: ClusterSpec, hosts: Sequence[HostSpec], probe: str, script: str, stdin: bytes = b"", *, kind: str, fault: str
) -> Captured:
    """`script` as root on the first of `hosts` on which `probe` succeeds. Failed, with each one's reason, when there is none:
    `kind` is what the hosts are, `fault` what a failing probe means."""
    with _where_hosts_are(spec):
        host, password = _answering(spec, hosts, probe, kind=kind, fault=fault)
        return _captured(spec, host, script, password, stdin)


def _where_hosts_are(spec: ClusterSpec) -> contextlib.AbstractContextManager[object]:
    return lab.entered(spec.lab) if spec.lab else contextlib.nullcontext()


def _kubectl(arguments: Sequence[str]) -> str:
    return f"exec {_ADMIN} {shlex.join(arguments)}"


def _captured(spec: ClusterSpec, host: HostSpec, script: str, password: str | None, stdin: bytes) -> Captured:
    asked = _command(spec, host, script, password)
    ssh = [*_ssh(spec, host, terminal=False), asked.line]
    done = subprocess.run(ssh, input=asked.head + stdin, capture_output=True, check=False)
    stdout, unframe = between(asked.mark, done.stdout)
    if not unframe.begun and done.returncode != SSH_FAILED:
        raise no_start(host.name, spec.ssh_of(host).user, done.returncode, unframe.noise, done.stderr)
    return Captured(ssh, done.returncode, stdout, after(asked.mark, done.stderr).encode())


def _master(spec: ClusterSpec) -> tuple[HostSpec, str | None]:
    return _answering(spec, spec.masters, _PROBE, kind="master", fault="its apiserver is not ready")


def _answering(spec: ClusterSpec, hosts: Sequence[HostSpec], probe: str, *, kind: str, fault: str) -> tuple[HostSpec, str | None]:
    """The first of `hosts` that answers, and its sudo password. A separate connection, so that a started command is never
    repeated on another host."""
    reasons = []
    for host in hosts:
        password = sudo_password(spec, host)
        why = _why_not(spec, host, password, probe, fault)
        if not why:
            return host, password
        reasons.append(f"{host.name} ({host.address}): {why}")
    raise Failed(f"no {kind} answers: {'; '.join(reasons)}; start one, or see `kubewright verify`")


def _why_not(spec: ClusterSpec, host: HostSpec, password: str | None, probe: str, fault: str) -> str:
    try:
        done = _captured(spec, host, probe, password, b"")
    except Failed as error:
        return str(error).removeprefix(f"{host.name}: ")
    if done.returncode == SSH_FAILED:
        said = done.stderr.decode(errors="replace").strip()
        return f"SSH does not answer ({said})" if said else "SSH does not answer"
    return fault if done.returncode else ""
