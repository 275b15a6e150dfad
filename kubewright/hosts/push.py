"""Payloads -> the shell that receives them on a host, and the bytes for it. Bytes that the host already has are not sent
again."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

from kubewright.model.places import HOME, STATE
from kubewright.plan.desired import Payload

_BLOCK = 1 << 18
SLOWEST = 1024
"""Bytes per second below which push.sh ends a fetch (curl's --speed-limit)."""


@cache
def prelude() -> str:
    folder = Path(__file__).parent
    return (folder / "proxy.sh").read_text() + (folder / "push.sh").read_text()


def _line(payload: Payload) -> str:
    common = (payload.path, payload.sha256, str(payload.size), f"{payload.mode:04o}", payload.selinux_type, payload.partial)
    if payload.url:
        return shlex.join(("fetch", *common, payload.url, str(payload.packed)))
    return shlex.join(("put", *common, str(payload.packed), str(payload.there)))


def script(payloads: Sequence[Payload], *, home: str = HOME, state: str = STATE) -> str:
    """Shell that receives `payloads`; `blocks` is its standard input."""
    wanted = " ".join(f"! -path {shlex.quote(p.partial)}" for p in payloads)
    first = f"home={home} state={state}\numask 022; mkdir -p {home} || exit 1\n{prelude()}sweep {wanted}\n"
    return first + " &&\n".join(map(_line, payloads)) + "\n"


def blocks(payloads: Sequence[Payload]) -> Iterator[bytes]:
    """The compressed bytes that the host lacks, without the payloads that it fetches itself."""
    for payload in payloads:
        if payload.url:
            continue
        with payload.local.open("rb") as file:
            file.seek(payload.there)
            while block := file.read(_BLOCK):
                yield block


def silence(payloads: Sequence[Payload]) -> float:
    """Seconds of the slowest fetch that push.sh allows. During it, push.sh neither reads nor prints a byte."""
    return sum(payload.packed for payload in payloads if payload.url) / SLOWEST
