"""The time that a command over SSH may be silent, and the reading of its output."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import TypeVar

import gevent
import paramiko

PATIENCE = 900
"""Seconds without a byte in any direction after which a command counts as hung, unless its caller sets another limit."""
CHUNK = 1 << 17
T = TypeVar("T")


class Patience:
    """One command's limit of `limit` seconds (None: no limit) without a byte in any direction. Sent bytes count too, since a
    push prints nothing until its end."""

    def __init__(self, channel: paramiko.Channel, limit: float | None) -> None:
        self._channel, self._limit, self._last = channel, limit, time.monotonic()

    def wait(self, call: Callable[[], T]) -> T:
        """The result of `call`, a read or a write of the channel. TimeoutError after the limit."""
        while True:
            if self._limit is not None:
                left = self._last + self._limit - time.monotonic()
                if left <= 0:
                    raise TimeoutError(f"no byte for {self._limit:.0f} seconds")
                self._channel.settimeout(left)
            try:
                done = call()
            except TimeoutError:
                continue
            self._last = time.monotonic()
            return done

    def send(self, block: bytes) -> None:
        while block:
            block = block[self.wait(partial(self._channel.send, block)) :]


def read(receive: Callable[[int], bytes], patience: Patience) -> bytearray | Exception:
    """The whole output, or the error: gevent would print an error raised in a greenlet."""
    received = bytearray()
    try:
        while block := patience.wait(partial(receive, CHUNK)):
            received += block
    except (paramiko.SSHException, EOFError, OSError) as error:
        return error
    return received


def got(reader: gevent.Greenlet) -> bytes:
    found = reader.get()
    if isinstance(found, Exception):
        raise found
    return bytes(found)
