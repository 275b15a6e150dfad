"""The identities of the matrix: those of the store, and wrong ones that are made in memory and never written."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from kubewright.errors import Failed
from pki import certificates, trust
from pki.authorities import AUTHORITIES
from pki.certificates import Subject
from pki.identities import Identity, Signer, foreign, signer, stored
from pki.store import Store

FOREIGN = "foreign"
ALGORITHM = "ecdsa-p256"
"""The algorithm of wrong identities: fast to make, and accepted by every component."""


_T = TypeVar("_T")


class Identities:
    """Each identity is made once. It is None where a key is missing, and `left_out` says which attempts were left out, and
    why."""

    def __init__(self, store: Store) -> None:
        self._store = store
        # It has the subject of the first real one.
        self._signers: dict[str, Signer | None] = {FOREIGN: foreign(AUTHORITIES[0].common_name, ALGORITHM)}
        self._identities: dict[tuple[str, object, bool], Identity | None] = {}
        self.left_out: dict[str, str] = {}

    def trust(self, authority: str) -> bytes:
        """The PEM that clients verify servers of `authority` with."""
        if authority == FOREIGN:
            impostor = self._signers[FOREIGN]
            assert impostor is not None
            return certificates.to_pem(impostor.certificate)
        return trust.bundle(self._store.entries, authority)

    def others(self, authority: str) -> tuple[str, ...]:
        """Every other authority, `foreign` the last."""
        return (*(a.name for a in AUTHORITIES if a.name != authority), FOREIGN)

    def stored(self, name: str) -> Identity | None:
        """The cluster's own certificate with that name."""
        which = (name, None, False)
        if which not in self._identities:
            self._identities[which] = self._try(f"connections as {name}", lambda: stored(self._store, name))
        return self._identities[which]

    def made(self, authority: str, subject: Subject, *, expired: bool = False) -> Identity | None:
        """A certificate for `subject` of an authority in the store, or of `foreign`."""
        if authority not in self._signers:
            self._signers[authority] = self._try(f"made-up certificates of {authority}", lambda: signer(self._store, authority))
        made_by = self._signers[authority]
        if made_by is None:
            return None
        which = (authority, subject, expired)
        if which not in self._identities:
            self._identities[which] = made_by.identity(subject, algorithm=ALGORITHM, expired=expired)
        return self._identities[which]

    def _try(self, what: str, get: Callable[[], _T]) -> _T | None:
        try:
            return get()
        except KeyError:
            self.left_out[what] = "the store has no such certificate; kubewright apply makes it"
        except Failed as error:
            self.left_out[what] = str(error)
        return None
