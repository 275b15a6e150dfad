"""One run: what all its steps share. The pieces are pure or thin; this holds them together while hosts work in parallel."""

from __future__ import annotations

import datetime as dt
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from gevent.lock import BoundedSemaphore

from kubewright.artifacts import Bundle, SourceConfig, obtain_all
from kubewright.engine import preflight
from kubewright.engine.host import Host
from kubewright.engine.script import stage
from kubewright.errors import Failed, HostsUnfit, Problem
from kubewright.plan.build import make_plan
from kubewright.plan.changes import Changes, changes
from kubewright.plan.context import Context
from kubewright.plan.desired import File, Stored
from kubewright.plan.observed import Observed
from kubewright.plan.role import Role
from kubewright.spec import ClusterSpec
from pki import certificates, decisions, keys
from pki.store import Store
from pki.table import AUTHORITIES, KUBERNETES, SERVICE_ACCOUNT, leaves
from roles.base import tables

BOOTSTRAP_LIFETIME = dt.timedelta(minutes=15)


class Stopped(Failed):
    """Another host failed before: this one was left as it was."""


@dataclass(frozen=True, kw_only=True)
class Event:
    """Something a person may want to see: a step began or ended on a host, or a line was said."""

    kind: str
    """`step`, `changed`, `failed`, `say`."""
    step: str = ""
    host: str = ""
    text: str = ""
    lines: tuple[str, ...] = ()


@dataclass(kw_only=True)
class Run:
    """Shared by every step on every host of one run."""

    inventory: Path
    spec: ClusterSpec
    roles: Sequence[Role]
    notify: Callable[[Event], None] = lambda _event: None
    hosts: dict[str, Host] = field(default_factory=dict)
    observed: dict[str, Observed] = field(default_factory=dict)
    seen_at: dict[str, float] = field(default_factory=dict)
    unreachable: list[Problem] = field(default_factory=list)
    changed: dict[tuple[str, str], tuple[str, ...]] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    failure: Exception | None = None

    def __post_init__(self) -> None:
        self.plan = make_plan(self.spec)
        self.store = Store(self.inventory)
        self.bundles: dict[str, Bundle] = {}
        self._prepared = False
        self._once = threading.RLock()
        self._serial: dict[str, BoundedSemaphore] = {role.name: BoundedSemaphore(1) for role in self.roles}

    def say(self, text: str) -> None:
        self.notify(Event(kind="say", text=text))

    # -- before the first change

    def observe(self, name: str) -> None:
        """Ask one host; what fails is kept, so that all hosts' problems are reported at once."""
        try:
            self.observed[name] = self.hosts[name].observe()
            self.seen_at[name] = time.time()
        except Failed as error:
            self.unreachable.append(Problem(where=name, what=str(error).removeprefix(f"{name}: "), allowed="", todo=""))

    def prepare(self) -> None:
        """Once every host was observed: check them all, get the artifacts, issue certificates. HostsUnfit, with every finding."""
        with self._once:
            if self._prepared:
                return
            found = [*self.unreachable, *preflight.problems(self.plan, self.roles, self.observed, self.seen_at)]
            if found:
                raise HostsUnfit(found)
            source = self.spec.artifacts
            config = SourceConfig(kind=source.source, mirror=source.mirror, directory=source.directory)
            for architecture in sorted({o.architecture for o in self.observed.values()}):
                self.bundles[architecture] = obtain_all(
                    self.plan.release, architecture, config, self.say, lock_path=self.inventory / "artifacts.lock"
                )
            self._issue()
            self._prepared = True

    def _issue(self) -> None:
        now, policy = dt.datetime.now(dt.UTC), self.plan.certificates
        wanted = leaves(self.plan)
        due = decisions.decide(AUTHORITIES, wanted, (SERVICE_ACCOUNT,), self.store, policy, now)
        if all(d.verdict is decisions.Verdict.KEEP for d in due):
            return
        done = decisions.carry_out(AUTHORITIES, wanted, (SERVICE_ACCOUNT,), self.store, policy, now)
        self.changed["certificates", "this machine"] = tuple(f"{d.verdict} {d.name}: {d.reason}" for d in done)
        self.say(f"issued {len(done)} certificates and keys")

    # -- steps

    def context(self, name: str, observed: Observed) -> Context:
        system = tables.system_of(observed.os_id, observed.os_version)
        assert system is not None, "preflight refuses an unknown system"
        return Context(
            plan=self.plan,
            node=self.plan.node(name),
            observed=observed,
            system=system,
            store=self.store,
            bundle=self.bundles[observed.architecture],
        )

    def pending(self, role: Role, name: str, observed: Observed) -> Changes:
        """What `role` would change on that host."""
        if not role.runs_on(self.plan.node(name)):
            return Changes()
        return changes(role.desired(self.context(name, observed)), observed)

    def carry_out(self, role: Role, name: str) -> None:
        """One role on one host. Stopped when another host failed meanwhile; Failed when this one does."""
        pending = self.pending(role, name, self.observed[name])
        if not pending:
            return
        self._check()
        if not pending.gated:
            self._act(role, name, pending)
            return
        with self._serial[role.name]:
            self._check()
            # What serves is stopped only for a difference that is there at this moment.
            self.observed[name] = self.hosts[name].observe()
            self._act(role, name, self.pending(role, name, self.observed[name]))

    def _act(self, role: Role, name: str, pending: Changes) -> None:
        if not pending:
            return
        began = time.monotonic()
        host = self.hosts[name]
        if pending.payloads:
            host.push(pending.payloads)
        system = self.context(name, self.observed[name]).system
        staged = stage(pending, system, self.content, self.bootstrap)
        if any(vars(pending)[f] for f in vars(pending) if f != "payloads"):
            host.act(staged)
        self.changed[role.name, name] = pending.sentences()
        self.notify(
            Event(
                kind="changed",
                step=role.name,
                host=name,
                text=f"{time.monotonic() - began:.1f} s",
                lines=pending.sentences(),
            )
        )

    def _check(self) -> None:
        if self.failure is not None:
            raise Stopped("left as it was, because another host failed")

    # -- secrets, read only when a host needs them

    def content(self, file: File) -> bytes:
        return self.store.key(file.content.name) if isinstance(file.content, Stored) else file.content

    def bootstrap(self) -> tuple[bytes, bytes]:
        """A certificate of system:masters that lives for minutes: it binds the administrators' group, nothing else has it."""
        key = keys.generate(self.plan.certificates.algorithm)
        subject = certificates.Subject(common_name="kubewright-bootstrap", organizations=("system:masters",), usages=("client",))
        authority = certificates.from_pem(self.store.certificate(KUBERNETES.name))
        signed = certificates.signed(
            subject,
            key,
            authority,
            keys.from_pem(self.store.key(KUBERNETES.name)),
            lifetime=BOOTSTRAP_LIFETIME,
            now=dt.datetime.now(dt.UTC),
        )
        return certificates.to_pem(signed), keys.to_pem(key)
