"""One run: what all its steps share. The pieces are pure or thin; this holds them together while hosts work in parallel."""

from __future__ import annotations

import contextlib
import datetime as dt
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import gevent
from gevent.lock import RLock

from kubewright.artifacts import Bundle, SourceConfig, at_hand, obtain_all
from kubewright.errors import Failed, HostsUnfit, Problem, Refused
from kubewright.hosts.host import Host
from kubewright.hosts.lock import Lock, holder
from kubewright.hosts.script import records_of, stage
from kubewright.model.build import make_plan
from kubewright.model.certificates import hosts_of, leaves
from kubewright.model.lineage import Lineage, newest
from kubewright.observe.live import Live, live_of
from kubewright.observe.observed import Observed
from kubewright.plan import leftovers, peers, record, transition
from kubewright.plan.changes import Changes, all_changes
from kubewright.plan.context import Context
from kubewright.plan.desired import File, Stored
from kubewright.plan.role import Role
from kubewright.plan.together import Together, together
from kubewright.releases import systems as tables
from kubewright.run import drain, lineage_copy, preflight, snapshot
from kubewright.run.hand_over import hand_over
from kubewright.run.journal import Journal, digest, new_id
from kubewright.run.nodes import Nodes
from kubewright.run.preflight import bootstrap, records
from kubewright.run.waves import waves, width
from kubewright.spec import ClusterSpec
from kubewright.spec.checks.authorities import external_cas
from pki import decisions, encryption, planned
from pki.authorities import SERVICE_ACCOUNT, authorities
from pki.decisions import Decision, Verdict
from pki.store import INDEX, PRIVATE, Entry, Store
from pki.vault import Vault, password_from

if TYPE_CHECKING:
    from kubewright.hosts.remote import Remote  # paramiko is not to be loaded before `connection` has patched sockets


class Stopped(Failed):
    """Another host failed before: this one was left as it was."""


@dataclass(frozen=True, kw_only=True)
class Event:
    """Something a person may want to see: a step began, ended or failed on a host, or a line was said."""

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
    verb: str = "apply"
    without: frozenset[str] = frozenset()
    break_lock: bool = False
    obtains: bool = True
    """Whether artifacts that are not on this machine are built or downloaded; a preview has stand-ins for them."""
    deep: bool = False
    """Binaries on hosts are rehashed, not known by their manifests."""
    renew: frozenset[str] = frozenset()
    """Certificates, by their names in the store, to renew whatever their age."""
    accept: Callable[[Run], None] = lambda _run: None
    """Asked once everything is known and nothing is done, and again under the lock: raises to refuse."""
    notify: Callable[[Event], None] = lambda _event: None
    hosts: dict[str, Host] = field(default_factory=dict)
    remotes: dict[str, Remote] = field(default_factory=dict)
    """A root shell on each of `hosts`; empty where hosts are no real ones."""
    observed: dict[str, Observed] = field(default_factory=dict)
    seen_at: dict[str, float] = field(default_factory=dict)
    unreachable: list[Problem] = field(default_factory=list)
    changed: dict[tuple[str, str], tuple[str, ...]] = field(default_factory=dict)
    failure: Exception | None = None

    def __post_init__(self) -> None:
        self.plan = replace(make_plan(self.spec), absent=self.without)
        self.peer_ports = peers.peer_ports(self.plan, self.roles)
        self.vault = Vault(password_from(self.spec.secrets.password_file))
        self.store = Store(self.inventory, self.vault)
        self.authorities = authorities(external_cas(self.spec.pki))
        self.bundles: dict[str, Bundle] = {}
        self.decisions: tuple[Decision, ...] = ()
        self.live = Live()
        self.together = Together()
        self.lineage: Lineage | None = None
        self.differences: tuple[transition.Difference, ...] = ()
        self._certificates: Mapping[str, Entry] = self.store.entries
        self.lock: Lock | None = None
        self.journal: Journal | None = None
        self._changes: dict[str, Mapping[str, Changes]] = {}
        self._checked = self._begun = self._ended = False
        self._once = RLock()
        self._turns: defaultdict[str, RLock] = defaultdict(RLock)
        self._outcomes: dict[str, dict[str, Exception]] = {}
        self.nodes = Nodes(self)
        self._tried: set[str] = set()

    def say(self, text: str) -> None:
        self.notify(Event(kind="say", text=text))

    # -- before the first change

    def observe(self, name: str) -> None:
        """Ask one host; what fails is kept, so that all hosts' problems are reported at once."""
        try:
            self._see(name)
        except Failed as error:
            what, _, todo = str(error).removeprefix(f"{name}: ").partition("; ")
            self.unreachable.append(Problem(where=name, what=what, allowed="", todo=todo))

    def _see(self, name: str) -> None:
        self.observed[name] = self.hosts[name].observe()
        self.seen_at[name] = time.time()
        self._changes.pop(name, None)

    def check(self) -> None:
        """Once every host was observed: judge them all and get the artifacts. HostsUnfit, with every finding."""
        with self._once:
            if self._checked:
                return
            self._judge()
            for architecture in sorted({o.architecture for o in self.observed.values()}):
                self.bundles[architecture] = self._bundle(architecture)
            self._decide()
            self._refuse_full()
            self.accept(self)
            self._checked = True

    def _bundle(self, architecture: str) -> Bundle:
        source, lock_path = self.spec.artifacts, self.inventory / "artifacts.lock"
        config = SourceConfig(kind=source.source, mirror=source.mirror, directory=source.directory)
        if not self.obtains:
            return at_hand(self.plan.release, architecture, config, lock_path)
        return obtain_all(self.plan.release, architecture, config, self.say, lock_path, test_images=False)

    def _judge(self) -> None:
        # Only now: what a host was given was in the store before, so that an older store shows.
        self.store = Store(self.inventory, self.vault)
        order = [node.name for node in self.plan.nodes]
        self._account(order)
        self.unreachable.sort(key=lambda problem: order.index(problem.where))
        self._compare()
        cluster = self._cluster()
        found = [*self.unreachable, *preflight.problems(cluster, self.seen_at)]
        found += records.findings(self.live, self.observed)
        made = newest(self.live.records, "") or lineage_copy.read(self.inventory)
        found += bootstrap.findings(cluster, self.live, made, disposable=bool(self.spec.lab))
        if refused := transition.refused(self.differences):
            raise Refused([*found, *refused])
        if found:
            raise HostsUnfit(found)
        # Not again during the run: who does what is done once stays the same host.
        self.together = together(self.plan, self.observed)

    def _account(self, names: Sequence[str]) -> None:
        """Failed unless each host was observed, is known as unreachable, or is left out: nothing is judged on fewer."""
        known = {*self.observed, *(problem.where for problem in self.unreachable), *self.without}
        if lost := [name for name in names if name not in known]:
            raise Failed(
                f"{', '.join(lost)}: not observed, so nothing is done; every host is observed before any is changed: "
                "under pyinfra, leave --serial and --no-wait out"
            )

    def _cluster(self) -> preflight.Cluster:
        return preflight.Cluster(
            plan=self.plan, roles=self.roles, peer_ports=self.peer_ports, observed=self.observed, entries=self.store.entries
        )

    def _compare(self) -> None:
        """The live cluster, its record, and every difference between them and the plan."""
        cluster = self._cluster()
        ours = {name: observed for name, observed in self.observed.items() if not preflight.foreign(cluster, observed)}
        self.live = live_of(ours)
        before = transition.record_of(self.live, lineage_copy.read(self.inventory))
        self.differences = transition.classify(before, self.live, self.plan, hosts_of(self.store.entries, "kubelet-client"))
        self.lineage = record.wanted(before, self.live, self.plan, ours)

    def _refuse_full(self) -> None:
        """HostsUnfit when what this run sends to a host does not fit there: its size is known only now."""
        names = [node.name for node in self.plan.nodes if node.name in self.observed]
        found = [p for n in names for p in preflight.space.findings(n, self.observed[n], self.changes_of(n).values())]
        if found:
            raise HostsUnfit(found)

    def _decide(self) -> None:
        now = dt.datetime.now(dt.UTC)
        self.decisions = (
            *decisions.decide(
                self.authorities, leaves(self.plan), (SERVICE_ACCOUNT,), self.store, self.plan.certificates, now, self.renew
            ),
            encryption.decide(self.store),
        )
        self._keep_encryption_key()
        self._certificates = planned.planned(self.store.entries, self.decisions, self.authorities)

    def _keep_encryption_key(self) -> None:
        """Failed rather than make a new key for hosts that have one: every Secret would be unreadable."""
        held = [name for name, observed in self.observed.items() if encryption.PATH in observed.entries]
        if held and encryption.ROW not in self.store.entries:
            raise Failed(
                f"{', '.join(held)}: there is an encryption key ({encryption.PATH}) that {self.inventory / INDEX} does not have, "
                "and with a new one no Secret could be read; restore certificates.json and secrets/ from their backup, or, "
                "for a new cluster, empty the hosts first: kubewright reset"
            )

    @property
    def issues(self) -> bool:
        """Whether a certificate or key is to be made or imported."""
        return any(d.verdict in decisions.CARRIED_OUT for d in self.decisions)

    @property
    def idle(self) -> bool:
        """Whether there is nothing to do at all."""
        return not self.issues and not any(any(self.changes_of(name).values()) for name in self.observed)

    def begin(self) -> None:
        """Before the first change, once: take the lock, look again, write down what begins, issue certificates."""
        with self._once:
            if self._begun or self.idle:
                return
            decisions.refuse_requests(self.decisions)
            self._unlock()
            mine = holder(self.verb, new_id())
            masters = [self.hosts[n.name] for n in self.plan.masters if n.name in self.hosts]
            self.lock = Lock(masters, mine, break_held=self.break_lock)
            self.lock.acquire()
            for line in self.lock.broken:
                self.say(f"took the lock from {line}")
            # The last holder of the lock may have changed anything, the certificates beside the inventory too.
            gevent.joinall([gevent.spawn(self.observe, name) for name in self.hosts], raise_error=True)
            self._judge()
            self._decide()
            self._changes.clear()
            self._refuse_full()
            self.accept(self)
            if self.idle:
                self.lock.release()
                return
            self.journal = Journal(self.inventory, mine, masters)
            self.journal.begin(
                spec=digest(self.inventory / "cluster.yaml"), index=digest(self.inventory / INDEX), without=sorted(self.without)
            )
            if drain.patching(self):
                snapshot.take(self, "nothing was changed; see docs/runbooks/etcd.md")
            self._issue()
            self._begun = True

    def _unlock(self) -> None:
        """Open the keys before anything is changed: a wrong password, or a key that is missing, is told now."""
        if not self.store.encrypted:
            self.say(f"the private keys in {self.inventory / PRIVATE} are not encrypted (kubewright secrets encrypt)")
        for name in self.store.incomplete:
            self.store.key(name)  # raises

    def _issue(self) -> None:
        if not self.issues:
            return
        now, policy = dt.datetime.now(dt.UTC), self.plan.certificates
        due = [d for d in self.decisions if d.verdict is not Verdict.KEEP and d.name == encryption.ROW]
        made = decisions.carry_out(self.authorities, leaves(self.plan), (SERVICE_ACCOUNT,), self.store, policy, now, self.renew)
        done = (*made, *due)
        serving = any("etcd.service" in observed.started_with for observed in self.observed.values())
        if due and encryption.issue(self.store, now, serving=serving).writes == encryption.IDENTITY:
            self.say("Secrets are still stored as they were; to encrypt them: kubewright encryption rotate")
        self.decisions = ()
        self._certificates = dict(self.store.entries)
        self._changes.clear()
        sentences = tuple(f"{d.verdict} {d.name}: {d.reason}" for d in done)
        self._note("certificates", "this machine", sentences)
        self.say(f"issued {len(done)} certificates and keys")

    # -- steps

    def context(self, name: str) -> Context:
        observed = self.observed[name]
        system = tables.system_of(observed.os_id, observed.os_version)
        assert system is not None, "preflight refuses an unknown system"
        return Context(
            plan=self.plan,
            node=self.plan.node(name),
            observed=observed,
            system=system,
            certificates=self._certificates,
            bundle=self.bundles[observed.architecture],
            lineage=self.lineage,
            joining=transition.joining(self.live, self.plan),
            together=self.together,
        )

    def pending(self, role: Role, name: str) -> Changes:
        """What `role` would change on that host, as it was last observed."""
        return self.changes_of(name).get(role.name, Changes())

    def changes_of(self, name: str) -> Mapping[str, Changes]:
        """All that would change on that host, by role, in order; computed once for each observation of it."""
        if name not in self._changes:
            wanted = leftovers.everything(self.roles, self.context(name))
            self._changes[name] = all_changes(wanted, self.observed[name])
        return self._changes[name]

    def carry_out(self, role: Role, name: str) -> None:
        """One role on one host. Stopped when another host failed meanwhile; Failed when this one does.

        Whichever host comes first does it for all of them: who waits for whom then does not depend on how many hosts
        pyinfra works on at once.
        """
        with self._turns[role.name]:
            if role.name not in self._outcomes:
                if role.learns and self.failure is None:
                    self._learn(role)
                self._outcomes[role.name] = self._everywhere(role)
        if error := self._outcomes[role.name].get(name):
            raise error

    def _everywhere(self, role: Role) -> dict[str, Exception]:
        """`role` on every host that needs it: starts at once, then restarts in waves. Errors by host."""
        errors: dict[str, Exception] = {}
        due = [n.name for n in self.plan.nodes if n.name in self.observed and self.pending(role, n.name)]
        gated = [name for name in due if self.pending(role, name).gated]
        at_once = [gevent.spawn(self._one, role, name, errors) for name in due if name not in gated]
        gevent.joinall(at_once, raise_error=True)
        # A restart that did not end well goes before one that may: what is broken is mended before more is touched. The
        # leader of etcd goes last: it hands over once then (decision 0006).
        gated.sort(key=lambda name: (not self._interrupted(role, name), self.observed[name].etcd_leads))
        for wave in waves(gated, self._width(role, gated)):
            self._wave(role, wave, errors)
        return errors

    def _width(self, role: Role, names: Sequence[str]) -> int:
        # How many nodes may be drained at once is for people to say: one, until they can.
        units = (change.unit for name in names for change in self.pending(role, name).units)
        if drain.patching(self) and any(unit.drained for unit in units):
            return 1
        return width(role, sum(role.runs_on(node) for node in self.plan.nodes))

    def _wave(self, role: Role, names: Sequence[str], errors: dict[str, Exception]) -> None:
        """Restart these hosts at once, when the other nodes are as well as they were."""
        if role.pods_need and self.failure is None:
            with self._caught(role, names[0], errors):
                self.nodes.gate(names)
        gevent.joinall([gevent.spawn(self._one, role, name, errors) for name in names], raise_error=True)

    def _learn(self, role: Role) -> None:
        """Observe the hosts that need `role` again: the cluster may not have been there when the run began."""
        due = [name for name in self.observed if self.pending(role, name)]
        if not due:
            return
        gevent.joinall([gevent.spawn(self.observe, name) for name in due], raise_error=True)
        self._compare()
        self._changes.clear()
        if self.lineage is None or not self.lineage.complete:
            what = "the cluster can't be identified: neither the API nor etcd answers on a master"
            raise Failed(f"{what}; see kubewright verify, then run the same command again")

    def _interrupted(self, role: Role, name: str) -> bool:
        return any(unit not in self.observed[name].started_with for unit in role.units)

    def _one(self, role: Role, name: str, errors: dict[str, Exception]) -> None:
        with self._caught(role, name, errors):
            self._check()
            if self.pending(role, name).gated:
                # What serves is stopped only for a difference that is there at this moment.
                self._see(name)
                self._check()
                hand_over(self, role, name)
            self._act(role, name, self.pending(role, name))

    @contextlib.contextmanager
    def _caught(self, role: Role, name: str, errors: dict[str, Exception]) -> Iterator[None]:
        """What is raised becomes the host's error, and the first one the run's failure."""
        try:
            yield
        except Stopped as stopped:
            errors.setdefault(name, stopped)
        except Exception as error:  # whatever it is, no other host is touched after it
            errors[name] = error
            if self.failure is None:
                self.failure = error
                self.notify(Event(kind="failed", step=role.name, host=name, text=str(error)))

    def _act(self, role: Role, name: str, pending: Changes) -> None:
        if not pending:
            return
        began = time.monotonic()
        host = self.hosts[name]
        if pending.payloads:
            host.push(pending.payloads)
        if replace(pending, payloads=()):
            # Noted before the act: what fails of it stops the run.
            if role.pods_need and pending.gated:
                self.nodes.restarted.add(name)
            trials = pending.tries - self._tried
            drained = drain.empty(self, name, pending)
            host.act(stage(pending, self.context(name).system, self.content, trials, remember=not drained))
            self._tried |= trials
            if drained:
                drain.refill(self, name)
                host.act(records_of(pending))
        self._note(role.name, name, pending.sentences())
        took = f"{time.monotonic() - began:.1f} s"
        self.notify(Event(kind="changed", step=role.name, host=name, text=took, lines=pending.sentences()))

    def _note(self, role: str, name: str, sentences: tuple[str, ...]) -> None:
        self.changed[role, name] = sentences
        if self.journal is not None:
            self.journal.step(role, name, sentences)

    def _check(self) -> None:
        if self.failure is not None:
            raise Stopped("not changed, because another host failed")

    def end(self) -> None:
        """After the last step, or the failure: write down how it went, let the lock go. Nothing when nothing began, or again."""
        if self._ended:
            return
        self._ended = True
        if self._checked and self.failure is None and self.lineage is not None and self.lineage.complete:
            lineage_copy.write(self.inventory, self.lineage)
        try:
            if self.journal is not None:
                self.journal.end("failed" if self.failure else "done", error=str(self.failure or ""))
        finally:
            if self.lock is not None:
                self.lock.release()

    def abandon(self) -> None:
        """When it was interrupted: `end`, as a failure."""
        self.failure = self.failure or Failed("interrupted; run the same command again: it resumes from what is done")
        self.end()

    # -- secrets, read only when a host needs them

    def content(self, file: File) -> bytes:
        return self.store.key(file.content.name) if isinstance(file.content, Stored) else file.content
