"""Client certificates for the tests, issued by the cluster's own authorities and by an untrusted one."""

from __future__ import annotations

import datetime as dt
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kubewright.model.certificates import ADMINS, OPERATOR
from pki import certificates, keys, trust
from pki.authorities import ETCD, FRONT_PROXY, KUBERNETES
from pki.identities import Identity
from pki.store import Store

HOUR = dt.timedelta(hours=1)


@contextmanager
def files(identity: Identity) -> Iterator[tuple[Path, Path]]:
    """Certificate and key as files that only this user can read, until the end of the block."""
    with tempfile.TemporaryDirectory() as folder:
        paths = Path(folder, "client.crt"), Path(folder, "client.key")
        for path, content in zip(paths, (identity.certificate, identity.key), strict=True):
            path.write_bytes(content)
        yield paths


class Issuer:
    """Issues certificates for tests. `folder` is the inventory's."""

    def __init__(self, folder: Path) -> None:
        self.store = Store(folder)
        with self.store.locked():  # index and keys from the same moment: a rotation may run meanwhile
            assert not self.store.incomplete
        self._now = dt.datetime.now(dt.UTC)
        foreign_key = keys.generate("ecdsa-p256")
        self._foreign = certificates.self_signed("kubernetes-ca", foreign_key, days=1, now=self._now), foreign_key

    def authority(self, name: str) -> bytes:
        """All trusted certificates of the authority `name`."""
        return trust.bundle(self.store.entries, name)

    def stored(self, name: str) -> Identity:
        """A certificate that kubewright issued."""
        return Identity(title=name, certificate=self.store.certificate(name), key=self.store.key(name))

    @property
    def operator(self) -> Identity:
        return self.stored(OPERATOR.name)

    def issue(self, authority: str, common_name: str, *organizations: str, expired: bool = False) -> Identity:
        """A client's certificate; `authority` is a name in the store, or `foreign`."""
        if authority == "foreign":
            signer, signer_key = self._foreign
        else:
            signer = certificates.from_pem(self.store.certificate(authority))
            signer_key = keys.from_pem(self.store.key(authority))
        key = keys.generate("ecdsa-p256")
        subject = certificates.Subject(common_name=common_name, organizations=organizations, usages=("server", "client"))
        now = self._now - 24 * HOUR if expired else self._now
        signed = certificates.signed(subject, key, signer, signer_key, lifetime=HOUR, now=now)
        title = f"{authority}: CN={common_name}{', expired' if expired else ''}"
        return Identity(title=title, certificate=certificates.to_pem(signed), key=keys.to_pem(key))

    def wrong(self, right: str, common_name: str, *organizations: str) -> tuple[Identity, ...]:
        """The same subject from every other authority, and from `right` but expired."""
        others = [name for name in (KUBERNETES.name, ETCD.name, FRONT_PROXY.name, "foreign") if name != right]
        issued = [self.issue(other, common_name, *organizations) for other in others]
        return (*issued, self.issue(right, common_name, *organizations, expired=True))


ADMIN = ("kubernetes-admin", ADMINS)
"""The most powerful subject: the one in a wrong authority's certificate."""
