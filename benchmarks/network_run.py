"""One end of a measured connection, in the network namespace that it is started in.

`python -m benchmarks.network_run receive ADDRESS PORT` serves until it is killed, and says `ready`. `... send ADDRESS PORT
SECONDS` prints bytes per second over one connection; `... connect ADDRESS PORT SECONDS` new connections per second.
"""

from __future__ import annotations

import socket
import struct
import sys
import time

PART = 1 << 20
TIMEOUT = 10.0
_RESET = struct.pack("ii", 1, 0)
"""SO_LINGER: closed by a reset, so that no port waits for its reuse."""


def receive(address: str, port: int) -> None:
    """Read each connection to its end, then answer with one byte."""
    buffer = bytearray(PART)
    with socket.create_server((address, port), backlog=1024) as server:
        print("ready", flush=True)
        while True:
            connection, _ = server.accept()
            with connection:
                try:
                    while connection.recv_into(buffer):
                        pass
                    connection.sendall(b"!")
                except ConnectionError:
                    continue


def send(address: str, port: int, seconds: float) -> float:
    """Bytes per second that the other end has read."""
    part, sent = bytes(PART), 0
    with socket.create_connection((address, port), timeout=TIMEOUT) as connection:
        began = time.monotonic()
        while time.monotonic() - began < seconds:
            connection.sendall(part)
            sent += PART
        connection.shutdown(socket.SHUT_WR)
        if connection.recv(1) != b"!":
            raise RuntimeError("the other end did not read everything")
        return sent / (time.monotonic() - began)


def connect(address: str, port: int, seconds: float) -> float:
    """Connections per second, one after the other."""
    made, began = 0, time.monotonic()
    while time.monotonic() - began < seconds:
        with socket.create_connection((address, port), timeout=TIMEOUT) as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        made += 1
    return made / (time.monotonic() - began)


def main(what: str, address: str, port: str, seconds: str = "0") -> None:
    """See the module."""
    if what == "receive":
        receive(address, int(port))
    print({"send": send, "connect": connect}[what](address, int(port), float(seconds)))


if __name__ == "__main__":
    main(*sys.argv[1:])
