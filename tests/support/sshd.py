"""An SSH server on this machine's loopback. Commands run on this machine, after the test's login script."""

from __future__ import annotations

import base64
import contextlib
import os
import re
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import paramiko
from paramiko.common import AUTH_FAILED, AUTH_SUCCESSFUL, OPEN_SUCCEEDED

LOOPBACK = "127.0.0.1"
_SCRIPT = re.compile(r" ([A-Za-z0-9+/=]+) --kubewright-[0-9a-f]{16}--$")


def made_key(path: Path, *options: str) -> Path:
    """A key pair by ssh-keygen; without a passphrase unless `-N` is among `options`."""
    passphrase = () if "-N" in options else ("-N", "")
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-C", "", "-f", str(path), *passphrase, *options], check=True)
    return path


@contextlib.contextmanager
def ssh_agent(path: Path) -> Iterator[Path]:
    """An empty ssh-agent that listens at that path."""
    process = subprocess.Popen(["ssh-agent", "-D", "-a", str(path)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()  # it listens
    try:
        yield path
    finally:
        process.terminate()
        process.wait()


def add(key: Path, passphrase: str) -> None:
    """Give the key to the agent by ssh-add, which asks a program for the passphrase."""
    ask = key.with_name("ask")
    ask.write_text(f"#!/bin/sh\necho '{passphrase}'\n")
    ask.chmod(0o700)
    environment = {**os.environ, "SSH_ASKPASS": str(ask), "SSH_ASKPASS_REQUIRE": "force", "DISPLAY": "none"}
    subprocess.run(["ssh-add", "-q", str(key)], env=environment, check=True, stdin=subprocess.DEVNULL)


def script_of(line: str) -> str:
    """The script inside a framed command line."""
    found = _SCRIPT.search(line)
    assert found, line
    return base64.b64decode(found[1]).decode()


@dataclass(kw_only=True)
class Sshd:
    """`login` runs in bash before every command, as ~/.bashrc does; `environment` is what PAM gives. `runs`: whether
    commands run; else each ends with 1 and no output."""

    port: int = 0
    login: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)
    runs: bool = True
    keys: frozenset[bytes] = frozenset()
    users: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)

    @property
    def scripts(self) -> list[str]:
        return [script_of(line) for line in self.lines]

    def known_hosts(self) -> str:
        return f"[{LOOPBACK}]:{self.port} {_HOST_KEY.get_name()} {_HOST_KEY.get_base64()}\n"


_HOST_KEY = paramiko.ECDSAKey.generate()


class _Server(paramiko.ServerInterface):
    def __init__(self, sshd: Sshd) -> None:
        self.sshd = sshd

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        self.sshd.users.append(username)
        return AUTH_SUCCESSFUL if key.asbytes() in self.sshd.keys else AUTH_FAILED

    def get_allowed_auths(self, username: str) -> str:
        return "publickey"

    def check_channel_request(self, kind: str, chanid: int) -> int:
        return OPEN_SUCCEEDED

    def check_channel_exec_request(self, channel: paramiko.Channel, command: bytes) -> bool:
        self.sshd.lines.append(command.decode())
        threading.Thread(target=self._run, args=(channel, command.decode()), daemon=True).start()
        return True

    def _run(self, channel: paramiko.Channel, command: str) -> None:
        if not self.sshd.runs:
            channel.send_exit_status(1)
            channel.close()
            return
        process = subprocess.Popen(
            ["bash", "-c", f"{self.sshd.login}\n{command}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={"PATH": os.environ["PATH"], **self.sshd.environment},
        )
        assert process.stdin and process.stdout and process.stderr
        threading.Thread(target=_into, args=(channel, process.stdin), daemon=True).start()
        out: Sequence[tuple[IO[bytes], Callable[[bytes], object]]] = (
            (process.stdout, channel.sendall),
            (process.stderr, channel.sendall_stderr),
        )
        workers = [threading.Thread(target=_out, args=pair) for pair in out]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        if (status := process.wait()) >= 0:  # sshd reports no status for a process that a signal ended
            channel.send_exit_status(status)
        channel.close()


def _into(channel: paramiko.Channel, pipe: IO[bytes]) -> None:
    with contextlib.suppress(OSError), pipe:
        while block := channel.recv(1 << 16):
            pipe.write(block)
            pipe.flush()


def _out(pipe: IO[bytes], send: Callable[[bytes], object]) -> None:
    # Not os.read: it would stop every greenlet.
    while block := pipe.read1(1 << 16):  # type: ignore[attr-defined]
        send(block)


@contextlib.contextmanager
def serving(sshd: Sshd) -> Iterator[Sshd]:
    """`sshd` until the end of the block; its port is chosen."""
    with socket.create_server((LOOPBACK, 0)) as listener:
        sshd.port = listener.getsockname()[1]
        transports: list[paramiko.Transport] = []
        thread = threading.Thread(target=_accept, args=(listener, sshd, transports), daemon=True)
        thread.start()
        try:
            yield sshd
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(timeout=30)
            for transport in transports:
                transport.close()


def _accept(listener: socket.socket, sshd: Sshd, transports: list[paramiko.Transport]) -> None:
    with contextlib.suppress(OSError):
        while True:
            connection, _ = listener.accept()
            transport = paramiko.Transport(connection)
            transport.add_server_key(_HOST_KEY)
            transports.append(transport)
            with contextlib.suppress(paramiko.SSHException, EOFError):
                transport.start_server(event=threading.Event(), server=_Server(sshd))


def authorized(*keys: Path) -> frozenset[bytes]:
    return frozenset(base64.b64decode(key.with_name(f"{key.name}.pub").read_text().split()[1]) for key in keys)
