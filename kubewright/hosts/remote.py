"""A root shell on a host, over the SSH connection that pyinfra holds open. `frame` says what surrounds each command.

Secrets and large content go through standard input, never through arguments, which every user of a host can read. A sudo
password goes to `sudo -S` as the first line of standard input (pyinfra's own way shows it in remote arguments).
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import gevent
import paramiko

from kubewright import disk
from kubewright.errors import Failed
from kubewright.hosts.frame import Command, Unframe, after, between, command, no_start
from kubewright.hosts.patience import CHUNK, PATIENCE, Patience, got, read

_PROHIBITED = 1
"""SSH_OPEN_ADMINISTRATIVELY_PROHIBITED (RFC 4254, 5.1)."""
SILENCE = 120
"""Seconds that a host may leave what was sent to it unacknowledged (by its kernel, not by a program) before it counts as gone."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    status: int
    stdout: str
    stderr: str


class Remote:
    """Runs commands as root. `password` is sudo's, None when root logs in or sudo asks for none."""

    def __init__(self, name: str, client: paramiko.SSHClient, *, user: str, password: str | None) -> None:
        self.name, self.commands, self.sent = name, 0, 0
        self.client, self._user, self._password = client, user, password
        transport = client.get_transport()
        assert transport is not None
        # Paramiko leaves Nagle's algorithm on, which costs 40 ms a command.
        if isinstance(transport.sock, socket.socket):  # through a jump host it is a channel
            transport.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if hasattr(socket, "TCP_USER_TIMEOUT"):
                transport.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, SILENCE * 1000)
        # A host that loses power during a command just falls silent; keepalives reveal that.
        transport.set_keepalive(SILENCE // 4)
        transport.default_window_size = 1 << 24

    def _command(self, script: str) -> Command:
        self.commands += 1
        return command(script, user=self._user, password=self._password)

    def _start(self, asked: Command) -> paramiko.Channel:
        transport = self.client.get_transport()
        if transport is None:
            raise EOFError("the connection is closed")
        channel = transport.open_session(timeout=30)
        channel.exec_command(asked.line)
        return channel

    def run(self, script: str, stdin: Iterable[bytes] = (), *, timeout: float = PATIENCE) -> Answer:
        """Run `script` as root with `stdin`. Failed when the connection breaks, when `timeout` seconds pass without a byte,
        either way, or when the script never began."""
        asked = self._command(script)
        with self._broken():
            channel = self._start(asked)
            patience = Patience(channel, timeout)
            readers = [gevent.spawn(read, receive, patience) for receive in (channel.recv, channel.recv_stderr)]
            self._write(channel, patience, asked.head, stdin)
            output, errors = (got(reader) for reader in readers)
            status = channel.recv_exit_status()
            channel.close()
        if status == -1:
            raise Failed(f"{self.name}: the SSH connection ended in the middle of a command; run the same command again")
        stdout, unframe = between(asked.mark, output)
        self._whole(unframe, status, errors)
        return Answer(status=status, stdout=stdout.decode(errors="replace"), stderr=after(asked.mark, errors))

    def _whole(self, unframe: Unframe, status: int, errors: bytes) -> None:
        if not unframe.begun:
            raise no_start(self.name, self._user, status, unframe.noise, errors)
        if not unframe.ended:
            raise Failed(f"{self.name}: its answer ended in the middle (exit status {status}); run the same command again")

    @contextlib.contextmanager
    def _broken(self) -> Iterator[None]:
        """Failed for what paramiko and gevent raise when a connection breaks."""
        try:
            yield
        except (paramiko.SSHException, EOFError, OSError, gevent.Timeout) as error:
            raise Failed(
                f"{self.name}: the SSH connection broke ({type(error).__name__}: {error}); "
                "check that the host is up, then run the same command again: it resumes from what is done"
            ) from error

    def download(self, script: str, target: Path) -> str | None:
        """Run `script` as root and keep its output as `target` (0600), replaced whole. None, or why it failed."""
        asked = self._command(script)
        unframe = Unframe(asked.mark)
        try:
            with disk.replacing(target) as file:
                with self._broken():
                    channel = self._start(asked)
                    patience = Patience(channel, None)
                    reader = gevent.spawn(read, channel.recv_stderr, patience)
                    self._write(channel, patience, asked.head, ())
                    while block := channel.recv(CHUNK):
                        file.write(unframe.feed(block))
                    errors, status = got(reader), channel.recv_exit_status()
                self._whole(unframe, status, errors)
                if status != 0:
                    raise Failed(after(asked.mark, errors).strip())
        except Failed as error:
            return str(error).removeprefix(f"{self.name}: ")
        return None

    def hold(self, script: str, line: str) -> tuple[paramiko.Channel, str]:
        """Start `script` as root with `line` as its first input, and leave it running. Its channel, and its first line."""
        asked = self._command(script)
        with self._broken():
            channel = self._start(asked)
            channel.settimeout(60)
            channel.sendall(asked.head + line.encode() + b"\n")
            lines, noise = channel.makefile("rb"), b""
            while (said := lines.readline()) and not said.endswith(asked.mark):
                noise += said
            if not said:
                errors = channel.makefile_stderr("rb").read()
                raise no_start(self.name, self._user, channel.recv_exit_status(), noise, errors)
            return channel, lines.readline().removesuffix(asked.mark).decode(errors="replace").strip()

    def dial(self, address: str, port: int, timeout: float) -> paramiko.Channel:
        """A connection from the host to address:port, carried over SSH. OSError when nothing answers there.

        Failed when sshd does not carry connections, or the SSH connection itself is broken.
        """
        transport = self.client.get_transport()
        if transport is None or not transport.is_active():
            raise Failed(f"{self.name}: the SSH connection broke; check that the host is up, then run the same command again")
        try:
            return transport.open_channel("direct-tcpip", (address, port), ("127.0.0.1", 0), timeout=timeout)
        except paramiko.ChannelException as error:
            if error.code == _PROHIBITED:
                raise Failed(
                    f"{self.name}: its sshd refuses to carry a connection to {address}:{port} ({error.text}); AllowTcpForwarding "
                    "must be yes or local, and PermitOpen any; set both in /etc/ssh/sshd_config for the login user, reload sshd"
                ) from error
            raise ConnectionRefusedError(f"{address}:{port} as {self.name} sees it: {error.text.lower()}") from error
        except (paramiko.SSHException, EOFError) as error:
            # Two channels that fail at the same moment share one exception, without the reason for the second.
            raise ConnectionError(f"{address}:{port} as {self.name} sees it: {error}") from error

    def _write(self, channel: paramiko.Channel, patience: Patience, head: bytes, stdin: Iterable[bytes]) -> None:
        try:
            patience.send(head)
            for block in stdin:
                patience.send(block)
                self.sent += len(block)
            channel.shutdown_write()
        except TimeoutError:
            raise
        except OSError:
            # The command ended early: its status and output say why.
            if not channel.exit_status_ready() and channel.transport and not channel.transport.is_active():
                raise
