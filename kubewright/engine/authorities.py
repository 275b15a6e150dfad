"""`kubewright certs rotate-ca` and `rotate-service-account`: stage by stage, each an apply and then evidence that it holds."""

from __future__ import annotations

import contextlib
import datetime as dt
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from kubewright.engine import evidence
from kubewright.engine.apply import Summary, apply
from kubewright.engine.certificates import opened
from kubewright.engine.connection import connected
from kubewright.engine.evidence import LISTENERS_SECONDS, PODS_SECONDS, OldPod, until_none
from kubewright.engine.rotation import rotate
from kubewright.engine.run import Event, Run
from kubewright.errors import Failed, HostsUnfit
from kubewright.plan.build import make_plan
from kubewright.plan.role import Role
from kubewright.spec import load
from kubewright.spec.checks.authorities import brought
from pki import rotation
from pki.stages import Stage
from pki.store import Store
from pki.table import AUTHORITIES, KUBERNETES, SERVICE_ACCOUNT
from pki.trust import NEXT

_COMMON_NAMES = {a.name: a.common_name for a in AUTHORITIES}


@dataclass(frozen=True, kw_only=True)
class AuthorityRotation:
    """See `Rotation`. `goes_on` is asked, with the pods that may know only the old authority, before it is dropped."""

    inventory: Path
    roles: tuple[Role, ...]
    name: str
    """The row: `ca/etcd`."""
    notify: Callable[[Event], None]
    goes_on: Callable[[Sequence[OldPod]], bool] = lambda _pods: False
    restart_workloads: bool = False

    def run(self) -> Summary:
        """Begin, or go on where an earlier run ended, until only the new one is trusted. See `rotate`."""
        return rotate(self, self._bring, lambda text: self._say(f"{self.name}: {text}"))

    def undo(self) -> Summary:
        """Back to the old one. Failed when nothing is under way, or one of the two is dropped already; see `rotate` too."""
        if self.stage() is Stage.SWITCHED:
            self._change(partial(rotation.undo, name=self.name))
        if self.stage() is Stage.INTRODUCED:
            summary = self._announced()
            if summary.failure is not None:
                return summary
            self._used()
        self._change(partial(rotation.undo, name=self.name))
        summary = self._announced()
        if summary.failure is None:
            self.advance(Stage.RETIRED)
        return summary

    def _announced(self) -> Summary:
        self._say(f"{self.name}: stage {self.stage()}")
        return self._bring()

    def stage(self) -> Stage:
        return rotation.stage(self._store().entries, self.name)

    def prove(self, stage: Stage) -> None:
        match stage:
            case Stage.INTRODUCED:
                self._accepted()
                if self.name == KUBERNETES.name and not rotation.vouches(self._store().entries, self.name):
                    self._workloads()  # whoever knows only the old one is lost at the switch already
            case Stage.SWITCHED:
                self._used()
                if self.name == KUBERNETES.name:
                    self._workloads()

    def advance(self, stage: Stage) -> None:
        spec = load(self.inventory, rotating=self.name)
        new = partial(
            rotation.begin, common_name=_COMMON_NAMES.get(self.name, ""), policy=make_plan(spec).certificates, now=_now(),
            given=brought(spec.pki).get(self.name),
        )  # fmt: skip
        self._change(partial(rotation.advance, name=self.name, seen=stage, begin=new, now=_now()))

    def _accepted(self) -> None:
        coming = f"{self.name}/{NEXT}"
        # One whose key is kept elsewhere can't sign the client that would try it.
        if self.name != SERVICE_ACCOUNT and self._store().entries[coming].key_sha256:
            self._wait("servers trust the new authority", lambda r: evidence.not_trusting(r, coming), LISTENERS_SECONDS)
        if self.name == KUBERNETES.name:
            self._wait("pods have both authorities", lambda r: evidence.without_authority(r, coming), PODS_SECONDS)

    def _used(self) -> None:
        if self.name == SERVICE_ACCOUNT:
            signer = self._store().certificate(self.name)
            self._wait("pods have tokens of the key that signs", lambda r: evidence.old_tokens(r, signer), PODS_SECONDS)
        else:
            self._wait(
                "servers show certificates of the authority that signs",
                lambda r: evidence.not_served(r, self.name),
                LISTENERS_SECONDS,
            )

    def _workloads(self) -> None:
        with self._connected() as run:
            pods = evidence.old_pods(run)
            if pods and self.restart_workloads:
                evidence.restart(run, pods, self._say)
                pods = evidence.old_pods(run)
        if pods and not self.goes_on(pods):
            raise Failed(
                f"{len(pods)} pods may have read only the old authority when they started: {'; '.join(map(str, pods[:8]))}"
                f"{'; and more' if len(pods) > 8 else ''}; both are still trusted. Restart them, or run the same command again "
                "with --restart-workloads (pods of nothing are yours to make anew), or with --drop to go on without them"
            )

    @contextlib.contextmanager
    def _connected(self) -> Iterator[Run]:
        run = Run(
            inventory=self.inventory,
            spec=load(self.inventory, rotating=self.name),
            roles=self.roles,
            notify=self.notify,
            verb=self._verb,
        )
        with connected(run):
            if run.unreachable:
                raise HostsUnfit(run.unreachable)
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
