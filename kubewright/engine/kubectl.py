"""kubectl on a master that answers, over OpenSSH: standard input, output, exit code and a terminal pass through."""

from __future__ import annotations

import contextlib
import os
import shlex
import subprocess
import sys
import threading
from pathlib import Path

from kubewright import lab
from kubewright.engine.inventory import sudo_password
from kubewright.engine.remote import MARK, SKIP_TO_MARK
from kubewright.errors import Failed
from kubewright.spec import ClusterSpec, HostSpec, load

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
    reasons = []
    with lab.entered(spec.lab) if spec.lab else contextlib.nullcontext():
        for host in spec.masters:
            password = sudo_password(spec, host)
            probe, head = _command(spec, host, _PROBE, password)
            # Asked apart: a command that was begun on one master is never begun again on another.
            if why := _why_not(_run([*_ssh(spec, host, terminal=False), probe], head, b"")):
                reasons.append(f"{host.name} ({host.address}): {why}")
                continue
            command, head = _command(spec, host, f"exec {_ADMIN} {shlex.join(arguments)}", password)
            return _run([*_ssh(spec, host, terminal=terminal and not head), command], head, stdin)
    raise Failed(f"no master answers: {'; '.join(reasons)}; start one, or see `kubewright verify`")


def _why_not(status: int) -> str:
    if status == SSH_FAILED:
        return "SSH does not answer"
    return "its apiserver is not ready" if status else ""
