"""Enter a lab's network namespace with this thread, for a block."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager

from kubewright.errors import Failed
from kubewright.lab.model import Lab, load
from kubewright.lab.network import NAMESPACES

_CLONE_NEWNET = 0x40000000


def _setns(descriptor: int) -> None:
    # Python has os.setns from 3.12 on.
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(descriptor, _CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), "setns")


@contextmanager
def entered(name: str) -> Iterator[None]:
    """Inside, this thread (and what it starts) is where the hosts' addresses are reachable; sockets opened there stay there.

    Failed when there is no such lab or the caller may not enter it.
    """
    with inside(load(name)):
        yield


@contextmanager
def inside(lab: Lab) -> Iterator[None]:
    """`entered`, for a lab that is not complete yet."""
    name = lab.name
    try:
        own = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        there = os.open(NAMESPACES / lab.namespace, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise Failed(f"lab {name}: it is not up; start it: kubewright lab up --name {name}") from None
    try:
        try:
            _setns(there)
        except PermissionError:
            raise Failed(f"lab {name}: only root may enter it; run this with sudo") from None
        try:
            yield
        finally:
            _setns(own)
    finally:
        os.close(own)
        os.close(there)
