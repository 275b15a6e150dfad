"""`kubewright certs rotate-ca` and `rotate-service-account`: stage by stage, each an apply and then evidence that it holds."""

from __future__ import annotations

import contextlib
import datetime as dt
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from kubewright.errors import Failed
from kubewright.model.build import make_plan
from kubewright.plan.role import Role
from kubewright.run.connection import everyone
from kubewright.run.run import Event, Run
from kubewright.spec import load
from kubewright.spec.checks.authorities import external_cas
from kubewright.verbs.apply import Summary, apply
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


@dataclass(frozen=True, kw_only=True)
class AuthorityRotation:
    """See `Rotation`. `goes_on` is asked, with what may need the old authority or key, before that is dropped."""

    inventory: Path
    roles: tuple[Role, ...]
    name: str
    """The row: `ca/etcd`."""
    notify: Callable[[Event], None]
    goes_on: Callable[[Sequence[str]], bool] = lambda _dependants: False
    restart_workloads: bool = False

    def run(self) -> Summary:
        """Begin, or go on where an earlier run ended, until only the new one is trusted. See `rotate`."""
        if self.stage() is Stage.SETTLED and self._expired():
            self._say(f"{self.name} has expired: nobody could show that its successor is accepted too, which signs at once")
            self._change(self._begin)
            self.advance(Stage.INTRODUCED)
        return rotate(self, self._bring, lambda text: self._say(f"{self.name}: {text}"))

    def undo(self) -> Summary:
        """Back to the old one. Failed when nothing is under way, or one of the two is dropped already; see `rotate` too."""
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
        self._say(f"{self.name}: stage {self.stage()}")
        return self._bring()

    def stage(self) -> Stage:
        return stage(self.inventory, self.name)

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
            self._used(NEXT)  # what can't be seen now could not be seen later, with half of the way gone
        self._change(partial(rotation.advance, name=self.name, seen=stage, begin=self._begin, now=_now()))

    def _begin(self, store: Store) -> None:
        spec = load(self.inventory, rotating=self.name)
        rotation.begin(
            store, self.name, _COMMON_NAMES.get(self.name, ""), make_plan(spec).certificates, _now(),
            external_cas(spec.pki).get(self.name),
        )  # fmt: skip

    def _accepted(self) -> None:
        coming = f"{self.name}/{NEXT}"
        # One whose key is kept elsewhere can't sign the client that would try it.
        if self.name != SERVICE_ACCOUNT and self._store().entries[coming].key_sha256:
            self._wait("servers trust the new authority", lambda r: evidence.not_trusting(r, coming), LISTENERS_SECONDS)
        if self.name == KUBERNETES.name:
            self._wait("pods have both authorities", lambda r: evidence.without_authority(r, coming), PODS_SECONDS)

    def _used(self, other: str) -> None:
        """What signs is what is used, and not what is in the row that ends in `other`."""
        if self.name == SERVICE_ACCOUNT:
            key = self._store().certificate(f"{self.name}/{other}")
            self._wait("no pod has a token of the other key", lambda r: evidence.tokens_of(r, key), PODS_SECONDS)
        else:
            what = "servers show certificates of the authority that signs"
            self._wait(what, lambda r: evidence.not_served(r, self.name), LISTENERS_SECONDS)

    def _ask(self, going: Entry) -> None:
        """Failed, naming what may need the one that is `going`, unless that is known."""
        found = self._dependants(going)
        if found and not self.goes_on(found):
            raise Failed(
                f"{len(found)} may need what is to be dropped: {'; '.join(found[:8])}{'; and more' if len(found) > 8 else ''}. "
                "Both are still trusted. Give people new kubeconfigs (user revoke, user add), restart pods (--restart-workloads "
                "rolls what they belong to), then run the same command again; with --drop it goes on without them"
            )

    def _dependants(self, going: Entry) -> list[str]:
        people = signers.rest_on(record.read(self.inventory), going, credential.stamp(_now()))
        found = [f"the kubeconfig of {name}" for name in people]
        if self.name == SERVICE_ACCOUNT:
            with self._connected() as run:
                found += [f"Secret {name}, a token that never ends" for name in dependants.token_secrets(run)]
        elif self.name == KUBERNETES.name:
            with self._connected() as run:
                pods = dependants.old_pods(run)
                if pods and self.restart_workloads:
                    dependants.restart(run, pods, self._say)
                    pods = dependants.old_pods(run)
            found += [f"pod {pod}" for pod in pods]
        return found

    def _expired(self) -> bool:
        entries = self._store().entries
        if self.name == SERVICE_ACCOUNT or self.name not in entries:
            return False
        return certificates.from_pem(entries[self.name].certificate.encode()).not_valid_after_utc <= _now()

    @contextlib.contextmanager
    def _connected(self) -> Iterator[Run]:
        run = Run(
            inventory=self.inventory,
            spec=load(self.inventory, rotating=self.name),
            roles=self.roles,
            notify=self.notify,
            verb=self._verb,
        )
        with everyone(run):
            yield run

    @property
    def _verb(self) -> str:
        return f"rotate {self.name}"

    def _store(self) -> Store:
        return opened(self.inventory, rotating=self.name)[1]

    def _say(self, text: str) -> None:
        self.notify(Event(kind="say", text=text))

    def _change(self, change: Callable[[Store], None]) -> None:
        store = self._store()
        with store.locked():
            change(store)

    def _bring(self) -> Summary:
        return apply(self.inventory, self.roles, self.notify, verb=self._verb, rotating=self.name)

    def _wait(self, what: str, missing: Callable[[Run], list[str]], seconds: float) -> None:
        with self._connected() as run:
            until_none(what, lambda: missing(run), seconds, self._say)


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)
