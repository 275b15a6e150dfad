"""DNS messages (RFC 1035, section 4), the part that a check needs, and shell that sends them: hosts have no dig."""

from __future__ import annotations

import shlex
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address

TRY_SECONDS, PAUSE_SECONDS = 1, 0.3
_A, _IN, _RECURSE = 1, 1, 0x0100
_ID = 0x6B77
_CODES = {0: "no address", 1: "FORMERR", 2: "SERVFAIL", 3: "NXDOMAIN", 4: "NOTIMP", 5: "REFUSED"}

# /usr/bin/printf writes a datagram at once; bash's own would send one at each newline byte. dd takes one datagram.
_ASK = f"""try() {{
  exec 3<>/dev/udp/$0/$PORT && env printf "$1" >&3
  answer=$(timeout {TRY_SECONDS} dd bs=4096 count=1 <&3 2>/dev/null | od -An -v -tx1 | tr -d ' \\n')
  echo "$0 ${{answer:--}}"
  # No error (the low half of byte 3), and answers (bytes 6 and 7).
  [ "${{answer:7:1}}" = 0 ] && [ "${{answer:12:4}}" != 0000 ]
}}
for query; do try "$query" && break; sleep {PAUSE_SECONDS}; done"""


@dataclass(frozen=True, kw_only=True)
class Reply:
    """A server's answer: addresses, or why there are none."""

    addresses: tuple[IPv4Address, ...] = ()
    why: str = ""


def query(name: str) -> bytes:
    """The question for `name`'s IPv4 addresses."""
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.rstrip(".").split("."))
    return struct.pack("!6H", _ID, _RECURSE, 1, 0, 0, 0) + labels + b"\0" + struct.pack("!2H", _A, _IN)


def ask(servers: Sequence[object], names: Sequence[str], *, port: int = 53) -> str:
    """Shell that asks all servers in parallel, each for one name after the other until it gives an address."""
    queries = " ".join("'" + "".join(f"\\{byte:03o}" for byte in query(name)) + "'" for name in names)
    return "".join(f"PORT={port} bash -c {shlex.quote(_ASK)} {server} {queries} &\n" for server in servers) + "wait"


def replies(said: str) -> dict[str, Reply]:
    """The last answer of each server, from what `ask`'s shell printed."""
    rows = (line.split(" ") for line in said.splitlines() if line.count(" ") == 1)
    return {server: _reply(answer) for server, answer in rows}


def _reply(answer: str) -> Reply:
    if answer == "-":
        return Reply(why="no answer")
    try:
        message = bytes.fromhex(answer)
        addresses = _addresses(message)
    except (ValueError, struct.error, IndexError):
        return Reply(why=f"an answer that is no DNS ({answer[:40]})")
    code = message[3] & 15
    return Reply(addresses=addresses, why="" if addresses else _CODES.get(code, f"code {code}"))


def _addresses(message: bytes) -> tuple[IPv4Address, ...]:
    _, _, questions, count, _, _ = struct.unpack_from("!6H", message)
    at = 12
    for _ in range(questions):
        at = _after_name(message, at) + 4
    found = []
    for _ in range(count):
        at = _after_name(message, at)
        kind, _, _, length = struct.unpack_from("!2HIH", message, at)
        at += 10
        if kind == _A:
            found.append(IPv4Address(message[at : at + length]))
        at += length
    return tuple(found)


def _after_name(message: bytes, at: int) -> int:
    """The end of a name: after its empty label, or after a pointer to an earlier name."""
    while length := message[at]:
        if length >= 0xC0:
            return at + 2
        at += length + 1
    return at + 1
