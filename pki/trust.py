"""What is trusted as an authority: every certificate (or public key) that the store holds for it. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from pki.store import Entry

NEXT, PREVIOUS = "next", "previous"
"""Further rows of an authority while it is rotated: `ca/etcd` signs, `ca/etcd/next` will, `ca/etcd/previous` did."""

_END = "-----END CERTIFICATE-----\n"


def bundle(entries: Mapping[str, Entry], name: str) -> bytes:
    """What the hosts trust as `name` (`ca/etcd`, `service-account`), PEM, the oldest first: when another one begins to
    sign, nothing changes in it.

    What lies above an authority (its row may hold a chain) is never trusted: a company's root as a client CA would admit
    the whole company. KeyError when there is no such row.
    """
    names = (f"{name}/{PREVIOUS}", name, f"{name}/{NEXT}")
    return "".join(first(entries[n].certificate) for n in names if n in entries or n == name).encode()


def first(pem: str) -> str:
    """The first certificate of several; a public key whole."""
    own, end, _ = pem.partition(_END)
    return own + end
