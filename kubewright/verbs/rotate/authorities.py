"""`kubewright certs rotate-ca` and `rotate-service-account`: stage by stage, each a run and then evidence that it holds."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from kubewright.errors import Failed
from kubewright.plan.wave import Wave, roles_of
from kubewright.run.connection import connected
from kubewright.run.events import Event
from kubewright.run.run import Run
from kubewright.run.session import Session
from kubewright.spec import load
from kubewright.spec.checks.authorities import external_cas
from kubewright.verbs.apply import Summary, carry_out
from kubewright.verbs.certificates import opened
from kubewright.verbs.rotate import dependants, evidence
from kubewright.verbs.rotate.evidence import LISTENERS_SECONDS, PODS_SECONDS, until_none
from kubewright.verbs.rotate.loop import rotate
from kubewright.verbs.users import credential, record, signers
from pki import certificates, rotation
from pki.authorities import AUTHORITIES, KUBERNETES, SERVICE_ACCOUNT
from pki.stages import Stage
from pki.store import Entry, Store
from pki.trust import NEXT, PREVIOUS

_COMMON_NAMES = {a.name: a.common_name for a in AUTHORITIES}


def stage(inventory: Path, name: str) -> Stage:
    """How far the rotation of that row has come."""
    return rotation.stage(Store(inventory).entries, name)


def rotate_authority(
    inventory: Path,
    waves: tuple[Wave, ...],
    name: str,
    notify: Callable[[Event], None],
    *,
    drop: Callable[[Sequence[str]], bool] = lambda _dependants: False,
    restart_workloads: bool = False,
    undo: bool = False,
) -> Summary:
    """Replace the authority or key pair of the row `name` (`ca/etcd`), resume that, or `undo` it; in one session.

    `drop` is asked, with what may need the old one, before that is dropped. Failed when the cluster does not show what a stage
    needs; what fails on hosts is in the summary. Either way the same command resumes.
    """
    session = Session(
        inventory=inventory, spec=load(inventory, rotating=name), roles=roles_of(waves), notify=notify, verb=f"rotate {name}",
        lasting=True,
    )  # fmt: skip
    with connected(session):
        rotation = AuthorityRotation(session=session, waves=waves, name=name, drop=drop, restart_workloads=restart_workloads)
        return rotation.undo() if undo else rotation.run()


@dataclass(frozen=True, kw_only=True)
class AuthorityRotation:
    """See `Rotation` and `rotate_authority`."""

    session: Session
    waves: tuple[Wave, ...]
    name: str
    drop: Callable[[Sequence[str]], bool] = lambda _dependants: False
    restart_workloads: bool = False

    def run(self) -> Summary:
        """Begin a rotation, or resume one, until only the new authority or key is trusted. See `rotate`."""
        if self.stage() is Stage.SETTLED and self._expired():
            self.session.say(f"{self.name} has expired: its successor signs at once, since no server can be asked first")
            self._change(self._begin)
            self.advance(Stage.INTRODUCED)
        return rotate(self, self._bring, lambda text: self.session.say(f"{self.name}: {text}"))

    def undo(self) -> Summary:
        """Return to the old authority or key. Failed when no rotation is under way, or one of the two was dropped already."""
        if self.stage() is Stage.SWITCHED:
            self._change(partial(rotation.undo, name=self.name))
        if self.stage() is Stage.INTRODUCED:
            summary = self._announced()
            if summary.failure is not None:
                return summary
            self._used(NEXT)
        self._change(partial(rotation.undo, name=self.name))
        summary = self._announced()
        if summary.failure is None:
            self.advance(Stage.RETIRED)
        return summary

    def _announced(self) -> Summary:
        self.session.say(f"{self.name}: stage {self.stage()}")
        return self._bring()

    def stage(self) -> Stage:
        return stage(self.session.inventory, self.name)

    def prove(self, stage: Stage) -> None:
        match stage:
            case Stage.INTRODUCED:
                self._accepted()
                # Without a cross-signed certificate, clients that know only the old one fail at the switch already.
                if self.name == KUBERNETES.name and not rotation.vouches(self._store().entries, self.name, _now()):
                    self._ask(self._store().entries[self.name])
            case Stage.SWITCHED:
                self._used(PREVIOUS)
                self._ask(self._store().entries[f"{self.name}/{PREVIOUS}"])

    def advance(self, stage: Stage) -> None:
        if stage is Stage.SETTLED and self.name != SERVICE_ACCOUNT:
            self._used(NEXT)  # before anything is changed: halfway, the rotation would stop there
        self._change(partial(rotation.advance, name=self.name, seen=stage, begin=self._begin, now=_now()))

    def _begin(self, store: Store) -> None:
        rotation.begin(
            store, self.name, _COMMON_NAMES.get(self.name, ""), self.session.plan.certificates, _now(),
            external_cas(self.session.spec.pki).get(self.name),
        )  # fmt: skip

    def _accepted(self) -> None:
        coming, session = f"{self.name}/{NEXT}", self.session
        # An authority whose key is kept elsewhere can't sign the client certificate that would try it.
        if self.name != SERVICE_ACCOUNT and self._store().entries[coming].key_sha256:
            missing = partial(evidence.not_trusting, session, self._store(), coming)
            until_none("servers trust the new authority", missing, LISTENERS_SECONDS, session.say)
        if self.name == KUBERNETES.name:
            missing = partial(evidence.without_authority, session, self._store(), coming)
            until_none("pods have both authorities", missing, PODS_SECONDS, session.say)

    def _used(self, other: str) -> None:
        """The servers, or the tokens of pods, use the one that signs, not the one in the row that ends in `other`."""
        session, store = self.session, self._store()
        if self.name == SERVICE_ACCOUNT:
            missing = partial(evidence.tokens_of, session, store.certificate(f"{self.name}/{other}"))
            until_none("no pod has a token of the other key", missing, PODS_SECONDS, session.say)
        else:
            what = "servers show certificates of the authority that signs"
            until_none(what, partial(evidence.not_served, session, store, self.name), LISTENERS_SECONDS, session.say)

    def _ask(self, going: Entry) -> None:
        """Failed, naming what may need the one that is `going`, unless `drop` says yes."""
        found = self._dependants(going)
        if found and not self.drop(found):
            raise Failed(
                f"{len(found)} may need what is to be dropped: {'; '.join(found[:8])}{'; and more' if len(found) > 8 else ''}. "
                "Both are still trusted. Give people new kubeconfigs (user revoke, user add), restart pods (--restart-workloads "
                "rolls what they belong to), then run the same command again; to drop it all the same, add --drop"
            )

    def _dependants(self, going: Entry) -> list[str]:
        people = signers.rest_on(record.read(self.session.inventory), going, credential.stamp(_now()))
        found = [f"the kubeconfig of {name}" for name in people]
        if self.name == SERVICE_ACCOUNT:
            found += [f"Secret {name}, a token that never ends" for name in dependants.token_secrets(self.session)]
        elif self.name == KUBERNETES.name:
            pods = dependants.old_pods(self.session)
            if pods and self.restart_workloads:
                dependants.restart(self.session, pods, self.session.say)
                pods = dependants.old_pods(self.session)
            found += [f"pod {pod}" for pod in pods]
        return found

    def _expired(self) -> bool:
        entries = self._store().entries
        if self.name == SERVICE_ACCOUNT or self.name not in entries:
            return False
        return certificates.from_pem(entries[self.name].certificate.encode()).not_valid_after_utc <= _now()

    def _store(self) -> Store:
        return opened(self.session.inventory, rotating=self.name)[1]

    def _change(self, change: Callable[[Store], None]) -> None:
        store = self._store()
        with store.locked():
            change(store)

    def _bring(self) -> Summary:
        return carry_out(Run(session=self.session, waves=self.waves), time.monotonic())


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)
