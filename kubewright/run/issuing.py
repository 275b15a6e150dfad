"""The certificates and keys of one run: which are due, and making them. What they are is X.509's business, and pki's."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping

from kubewright.errors import Failed
from kubewright.model.certificates import leaves
from kubewright.run.session import Session
from kubewright.spec.checks.authorities import external_cas
from pki import decisions, encryption, planned
from pki.authorities import SERVICE_ACCOUNT, authorities
from pki.decisions import Decision, Verdict
from pki.store import INDEX, PRIVATE, Entry, Store
from pki.vault import Vault, password_from


class Issuing:
    """Holds the store. `decide` reads it and says what is due; `issue` makes that, and nothing before does."""

    def __init__(self, session: Session, renew: frozenset[str]) -> None:
        self._session, self._renew = session, renew
        self.vault = Vault(password_from(session.spec.secrets.password_file))
        self.store = Store(session.inventory, self.vault)
        self.authorities = authorities(external_cas(session.spec.pki))
        self.decisions: tuple[Decision, ...] = ()
        self.certificates: Mapping[str, Entry] = self.store.entries
        """The index, with stand-ins for what is to be issued."""

    @property
    def due(self) -> bool:
        """Whether a certificate or key is to be made or imported."""
        return any(d.verdict in decisions.CARRIED_OUT for d in self.decisions)

    def reread(self) -> None:
        """Read the store again: another run may have changed it."""
        self.store = Store(self._session.inventory, self.vault)

    def decide(self) -> None:
        """Failed rather than make a new encryption key for hosts that have one."""
        session, now = self._session, dt.datetime.now(dt.UTC)
        rows = decisions.decide(
            self.authorities, leaves(session.plan), (SERVICE_ACCOUNT,), self.store, session.plan.certificates, now, self._renew
        )
        self.decisions = (*rows, encryption.decide(self.store))
        self._keep_encryption_key()
        self.certificates = planned.planned(self.store.entries, self.decisions, self.authorities)

    def _keep_encryption_key(self) -> None:
        held = [name for name, observed in self._session.observed.items() if encryption.PATH in observed.entries]
        if held and encryption.ROW not in self.store.entries:
            raise Failed(
                f"{', '.join(held)}: there is an encryption key ({encryption.PATH}) that {self._session.inventory / INDEX} does "
                "not have, and with a new one no Secret could be read; restore certificates.json and secrets/ from their backup, "
                "or, for a new cluster, empty the hosts first: kubewright reset"
            )

    def unlock(self) -> None:
        """Open the keys: a wrong password, or a key that is missing, is told before anything is changed."""
        decisions.refuse_requests(self.decisions)
        if not self.store.encrypted:
            private = self._session.inventory / PRIVATE
            self._session.say(f"the private keys in {private} are not encrypted (kubewright secrets encrypt)")
        for name in self.store.incomplete:
            self.store.key(name)  # raises

    def issue(self) -> tuple[str, ...]:
        """Make what is due. A sentence for each; none when nothing is."""
        if not self.due:
            return ()
        session, now = self._session, dt.datetime.now(dt.UTC)
        keys = [d for d in self.decisions if d.verdict is not Verdict.KEEP and d.name == encryption.ROW]
        made = decisions.carry_out(
            self.authorities, leaves(session.plan), (SERVICE_ACCOUNT,), self.store, session.plan.certificates, now, self._renew
        )
        serving = any("etcd.service" in observed.started_with for observed in session.observed.values())
        if keys and encryption.issue(self.store, now, serving=serving).writes == encryption.IDENTITY:
            session.say("Secrets are still stored as they were; to encrypt them: kubewright encryption rotate")
        self.decisions = ()
        self.certificates = dict(self.store.entries)
        done = (*made, *keys)
        session.say(f"issued {len(done)} certificates and keys")
        return tuple(f"{d.verdict} {d.name}: {d.reason}" for d in done)
