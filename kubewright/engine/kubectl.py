"""kubectl on a master that answers, over OpenSSH: standard input, output, exit code and a terminal pass through."""

from __future__ import annotations

import contextlib
import os
import shlex
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from kubewright import lab
from kubewright.engine.inventory import sudo_password
from kubewright.engine.remote import MARK, SKIP_TO_MARK
from kubewright.errors import Failed
from kubewright.spec import ClusterSpec, HostSpec, load

Captured = subprocess.CompletedProcess[bytes]

SSH_FAILED = 255
_ADMIN = "/usr/local/bin/kubectl --kubeconfig=/etc/kubernetes/admin.conf"
_PROBE = f"{_ADMIN} get --raw /readyz --request-timeout=5s >/dev/null 2>&1"


def _ssh(spec: ClusterSpec, host: HostSpec, *, terminal: bool) -> list[str]:
    ssh = spec.ssh_of(host)
    options = [
        "-o",
        "StrictHostKeyChecking=yes",
        "-o",
        "ConnectTimeout=5",
        "-o",
        "BatchMode=yes",
        "-o",
        "LogLevel=ERROR",
    ]
    options += ["-o", "ServerAliveInterval=5", "-p", str(ssh.port), "-l", ssh.user]
    options += ["-i", str(ssh.key), "-o", "IdentitiesOnly=yes"] if ssh.key else []
    options += ["-o", f"UserKnownHostsFile={ssh.known_hosts}"] if ssh.known_hosts else []
    options += ["-J", ssh.jump] if ssh.jump else []
    return ["ssh", *options, "-tt" if terminal else "-T", str(ssh.host)]


def _command(spec: ClusterSpec, host: HostSpec, script: str, password: str | None) -> tuple[str, bytes]:
    """The remote command that runs `script` as root, and what goes before its standard input."""
    if spec.ssh_of(host).user == "root":
        return f"/bin/sh -c {shlex.quote(script)}", b""
    if password is None:
        return f"sudo -n /bin/sh -c {shlex.quote(script)}", b""
    return f"sudo -k -S -p '' /bin/sh -c {shlex.quote(SKIP_TO_MARK + script)}", password.encode() + b"\n" + MARK


def _run(command: list[str], head: bytes, stdin: bytes | None) -> int:
    """Run `command`; when `head` goes before standard input, that is copied through. Its exit status."""
    if stdin is None and not head:
        return subprocess.run(command, check=False).returncode
    process = subprocess.Popen(command, stdin=subprocess.PIPE)
    assert process.stdin is not None
    pipe = process.stdin

    def feed() -> None:
        with contextlib.suppress(BrokenPipeError), pipe:
            pipe.write(head)
            if stdin is not None:
                pipe.write(stdin)
            else:
                while block := os.read(sys.stdin.fileno(), 1 << 16):
                    pipe.write(block)
                    pipe.flush()

    threading.Thread(target=feed, daemon=True).start()
    return process.wait()


def kubectl(inventory: Path, arguments: list[str], stdin: bytes | None = None) -> int:
    """kubectl's exit status on the first master that answers. Failed, with each one's reason, when none does."""
    spec = load(inventory)
    terminal = stdin is None and sys.stdin.isatty() and sys.stdout.isatty()
    with _where_hosts_are(spec):
        host, password = _answering(spec)
        command, head = _kubectl_on(spec, host, arguments, password)
        return _run([*_ssh(spec, host, terminal=terminal and not head), command], head, stdin)


def captured(spec: ClusterSpec, arguments: Sequence[str], stdin: bytes = b"") -> Captured:
    """The same, with what kubectl said instead of showing it. Failed when no master answers."""
    with _where_hosts_are(spec):
        host, password = _answering(spec)
        command, head = _kubectl_on(spec, host, arguments, password)
        ssh = _ssh(spec, host, terminal=False)
        return subprocess.run([*ssh, command], input=head + stdin, capture_output=True, check=False)


def _where_hosts_are(spec: ClusterSpec) -> contextlib.AbstractContextManager[object]:
    return lab.entered(spec.lab) if spec.lab else contextlib.nullcontext()


def _kubectl_on(spec: ClusterSpec, host: HostSpec, arguments: Sequence[str], password: str | None) -> tuple[str, bytes]:
    return _command(spec, host, f"exec {_ADMIN} {shlex.join(arguments)}", password)


def _answering(spec: ClusterSpec) -> tuple[HostSpec, str | None]:
    """The first master that answers, and its sudo password. Asked apart: what was begun on one is never begun on another."""
    reasons = []
    for host in spec.masters:
        password = sudo_password(spec, host)
        probe, head = _command(spec, host, _PROBE, password)
        why = _why_not(_run([*_ssh(spec, host, terminal=False), probe], head, b""))
        if not why:
            return host, password
        reasons.append(f"{host.name} ({host.address}): {why}")
    raise Failed(f"no master answers: {'; '.join(reasons)}; start one, or see `kubewright verify`")


def _why_not(status: int) -> str:
    if status == SSH_FAILED:
        return "SSH does not answer"
    return "its apiserver is not ready" if status else ""
