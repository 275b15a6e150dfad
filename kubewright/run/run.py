"""One run: one plan, judged and carried out in a session. `Rollout` has its waves; the pieces are pure or thin."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import gevent
from gevent.lock import RLock

from kubewright.artifacts import Bundle, Cache, SourceConfig, at_hand, obtain_all
from kubewright.errors import Failed, HostsUnfit, Problem, Refused
from kubewright.hosts.host import Host
from kubewright.model.certificates import hosts_of
from kubewright.model.cluster import Plan
from kubewright.model.lineage import Lineage, newest
from kubewright.observe.live import Live, live_of
from kubewright.observe.observed import Observed
from kubewright.plan import backends, leftovers, record, transition
from kubewright.plan.changes import Changes, all_changes
from kubewright.plan.context import Context
from kubewright.plan.desired import File, Stored
from kubewright.plan.move import Move
from kubewright.plan.role import Role
from kubewright.plan.together import Together, together
from kubewright.plan.wave import Wave, roles_of
from kubewright.releases import Release
from kubewright.releases import systems as tables
from kubewright.run import archives, drain, lineage_copy, preflight, snapshot
from kubewright.run.events import Stopped
from kubewright.run.issuing import Issuing
from kubewright.run.journal import digest
from kubewright.run.preflight import bootstrap, records, restored
from kubewright.run.rollout import Rollout
from kubewright.run.session import Session
from pki.store import INDEX

ISSUED = "certificates"
"""Stands for a role in `Run.changed` and the journal: certificates and keys that were issued."""


@dataclass(kw_only=True)
class Run:
    """One plan of a session, from the first look at the hosts to the last wave."""

    session: Session
    waves: tuple[Wave, ...]
    obtains: bool = True
    """Whether artifacts that are not on this machine are built or downloaded; a preview has stand-ins for them."""
    renew: frozenset[str] = frozenset()
    """Certificates, by their names in the store, to renew whatever their age."""
    restores: bool = False
    """Whether etcd's members get the data of a backup in this run: then it does not matter what they have, or that they are
    others than before."""
    accept: Callable[[Run], None] = lambda _run: None
    """Asked once everything is known and nothing is done, and again under the lock: raises to refuse."""
    move: Move | None = None
    """Set when the run brings the cluster to another release."""
    further: Callable[[Run], tuple[Sequence[Problem], Sequence[Problem]]] = lambda _run: ((), ())
    """Findings of the verb itself, told with all others: what the live cluster does not allow, and what is to be repaired."""
    changed: dict[tuple[str, str], tuple[str, ...]] = field(default_factory=dict)
    """By role (or ISSUED) and host: what was changed, as sentences."""
    only: frozenset[str] = frozenset()
    """The titles of the waves that it carries out, when not all."""
    failure: Exception | None = None

    def __post_init__(self) -> None:
        self.roles = roles_of(self.waves)
        self.issuing = Issuing(self.session, self.renew)
        self.bundles: dict[tuple[str, str], Bundle] = {}
        """By Kubernetes' version and by architecture."""
        self.live = Live()
        self.together = Together()
        self.changes_backend = False
        """Whether a change of flannel's backend was to be made, or under way, when the run began."""
        self.lineage: Lineage | None = None
        self.differences: tuple[transition.Difference, ...] = ()
        self.rollout = Rollout(self)
        self._changes: dict[str, tuple[Observed, Mapping[str, Changes]]] = {}
        """By host: what would change, and the observation that says so."""
        self._checked = self._begun = self._ended = False
        self._once = RLock()

    # -- of the session

    @property
    def inventory(self) -> Path:
        return self.session.inventory

    @property
    def plan(self) -> Plan:
        return self.session.plan

    @property
    def hosts(self) -> dict[str, Host]:
        return self.session.hosts

    @property
    def observed(self) -> dict[str, Observed]:
        return self.session.observed

    @property
    def unreachable(self) -> list[Problem]:
        return self.session.unreachable

    def say(self, text: str) -> None:
        self.session.say(text)

    # -- before the first change

    def check(self) -> None:
        """Once every host was observed: judge them all and get the artifacts. HostsUnfit, with every finding."""
        with self._once:
            if self._checked:
                return
            self._judge()
            for (version, architecture), release in sorted(self._wanted().items()):
                self.bundles[version, architecture] = self._bundle(release, architecture)
            self._take_archives()
            self.issuing.decide()
            self._refuse_full()
            self.accept(self)
            self._checked = True

    def _wanted(self) -> dict[tuple[str, str], Release]:
        """What the plan's nodes need, by Kubernetes' version and by architecture."""
        nodes = (self.plan.node(name) for name in self.observed)
        return {(n.release.kubernetes, self.observed[n.name].architecture): n.release for n in nodes}

    def _bundle(self, release: Release, architecture: str) -> Bundle:
        source, lock_path = self.session.spec.artifacts, self.inventory / "artifacts.lock"
        config = SourceConfig(kind=source.source, mirror=source.mirror, directory=source.directory)
        addons = [addon.name for addon in self.plan.addons]
        if not self.obtains:
            return at_hand(release, architecture, config, lock_path, addons=addons, skydns=self.plan.has_skydns)
        return obtain_all(
            release,
            architecture,
            config,
            self.say,
            lock_path,
            test_images=False,
            addons=addons,
            skydns=self.plan.has_skydns,
        )

    def _take_archives(self) -> None:
        """The spec's archives of images, for the architectures that have them."""
        paths = self.plan.images.archives
        if not paths:
            return
        hosts = {self.observed[node.name].architecture for node in self.plan.kubelets if node.name in self.observed}
        found = archives.taken(paths, hosts, Cache.default(), self.say, keep=self.obtains)
        self.bundles = {key: replace(bundle, archives=found.get(key[1], ())) for key, bundle in self.bundles.items()}

    def _judge(self) -> None:
        # Only now: what a host was given was in the store before, so that an older store shows.
        self.issuing.reread()
        order = [node.name for node in self.plan.nodes]
        self._account(order)
        self.unreachable.sort(key=lambda problem: order.index(problem.where))
        self._compare()
        cluster = self._cluster()
        found = [*self.unreachable, *preflight.problems(cluster, self.session.seen_at)]
        found += records.findings(self.live, self.observed)
        if not self.restores:
            made = newest(self.live.records, "") or lineage_copy.read(self.inventory)
            found += bootstrap.findings(cluster, self.live, made, disposable=bool(self.session.spec.lab))
            assert self.lineage is not None
            found += restored.findings(cluster, self.lineage, lineage_copy.read(self.inventory))
        not_allowed, further = self.further(self)
        found += further
        if refused := [*transition.refused(self.differences, moves=self.move is not None), *not_allowed]:
            raise Refused([*found, *refused])
        if found:
            raise HostsUnfit(found)
        # Not again during the run: who does what is done once stays the same host.
        self.together = together(self.plan, self.observed)
        self.changes_backend = backends.under_way(self.plan, self.together, self.observed)

    def _account(self, names: Sequence[str]) -> None:
        """Failed unless each host was observed, is known as unreachable, or is left out: nothing is judged on fewer."""
        known = {*self.observed, *(problem.where for problem in self.unreachable), *self.session.without}
        if lost := [name for name in names if name not in known]:
            raise Failed(
                f"{', '.join(lost)}: not observed, so nothing is done; every host is observed before any is changed: "
                "under pyinfra, leave --serial and --no-wait out"
            )

    def _cluster(self) -> preflight.Cluster:
        return preflight.Cluster(
            plan=self.plan,
            roles=self.roles,
            peer_ports=self.session.peer_ports,
            observed=self.observed,
            entries=self.issuing.store.entries,
        )

    def _compare(self) -> None:
        """The live cluster, its record, and every difference between them and the plan."""
        cluster = self._cluster()
        ours = {name: observed for name, observed in self.observed.items() if not preflight.foreign(cluster, observed)}
        self.live = live_of(ours)
        before = transition.record_of(self.live, lineage_copy.read(self.inventory))
        self.differences = transition.classify(
            before, self.live, self.plan, hosts_of(self.issuing.store.entries, "kubelet-client")
        )
        if self.restores:
            self.differences = tuple(d for d in self.differences if d.rule not in transition.RESTORED)
        self.lineage = record.wanted(before, self.live, self.plan, ours)

    def _refuse_full(self) -> None:
        """HostsUnfit when what this run sends to a host does not fit there: its size is known only now."""
        names = [node.name for node in self.plan.nodes if node.name in self.observed]
        found = [p for n in names for p in preflight.space.findings(n, self.observed[n], self.changes_of(n).values())]
        if found:
            raise HostsUnfit(found)

    @property
    def idle(self) -> bool:
        """Whether there is nothing to do at all."""
        if self.move is not None and drain.held(self):
            return False
        return not self.issuing.due and not any(any(self.changes_of(name).values()) for name in self.observed)

    def begin(self) -> None:
        """Before the first change, once: take the lock, look again, write down what begins, issue certificates."""
        with self._once:
            if self.failure is not None:  # another host's callback came first, and was refused
                raise Stopped("not changed, because the run has failed")
            if self._begun or self.idle:
                return
            self.issuing.unlock()
            if not self.session.locked:
                self.session.take_lock()
                self._look_again()
                if self.idle:
                    return
            self.session.begin(
                spec=digest(self.inventory / "cluster.yaml"),
                index=digest(self.inventory / INDEX),
                without=sorted(self.session.without),
            )
            if self.move is not None:
                snapshot.take(self.session, "nothing was changed; see docs/runbooks/etcd.md")
            if sentences := self.issuing.issue():
                self._changes.clear()
                self.note(ISSUED, "this machine", sentences)
            self._begun = True

    def _look_again(self) -> None:
        """The last holder of the lock may have changed anything, the certificates beside the inventory too."""
        gevent.joinall([gevent.spawn(self.session.observe, name) for name in self.hosts], raise_error=True)
        self._judge()
        self.issuing.decide()
        self._changes.clear()
        self._refuse_full()
        self.accept(self)

    # -- what differs

    def context(self, name: str) -> Context:
        observed, node = self.observed[name], self.plan.node(name)
        system = tables.system_of(observed.os_id, observed.os_version)
        assert system is not None, "preflight refuses an unknown system"
        return Context(
            plan=self.plan,
            node=node,
            observed=observed,
            system=system,
            certificates=self.issuing.certificates,
            bundle=self.bundles[node.release.kubernetes, observed.architecture],
            lineage=self.lineage,
            joining=transition.joining(self.live, self.plan),
            learning=transition.learning(self.live, self.plan),
            together=self.together,
        )

    def pending(self, role: Role, name: str) -> Changes:
        """What `role` would change on that host, as it was last observed."""
        return self.changes_of(name).get(role.name, Changes())

    def changes_of(self, name: str) -> Mapping[str, Changes]:
        """All that would change on that host, by role, in order; computed once for each observation of it."""
        observed = self.observed[name]
        if name not in self._changes or self._changes[name][0] is not observed:
            wanted = leftovers.everything(self.roles, self.context(name))
            self._changes[name] = (observed, all_changes(wanted, observed))
        return self._changes[name][1]

    def learn(self, names: Sequence[str]) -> None:
        """Observe those hosts again: the cluster may not have been there when the run began."""
        if not names:
            return
        gevent.joinall([gevent.spawn(self.session.observe, name) for name in names], raise_error=True)
        self._compare()
        self.together = self.together.seen(self.plan, self.observed)
        self._changes.clear()
        if self.lineage is None or not self.lineage.complete:
            what = "the cluster can't be identified: neither the API nor etcd answers on a master"
            raise Failed(f"{what}; see kubewright verify, then run the same command again")

    def compare_again(self) -> None:
        """Once every host was observed again: what is known of the cluster is as old as that."""
        self._compare()
        self._changes.clear()

    def note(self, role: str, host: str, sentences: tuple[str, ...]) -> None:
        """Write down what was changed on a host."""
        self.changed[role, host] = sentences
        self.session.note(role, host, sentences)

    def end(self) -> None:
        """After the last wave, or the failure: keep the lineage; the session ends unless it lasts. Only the first call counts."""
        if self._ended:
            return
        self._ended = True
        if self._checked and not self.only and self.failure is None and self.lineage is not None and self.lineage.complete:
            lineage_copy.write(self.inventory, self.lineage)
        self.session.plan_ended(self.failure)

    def abandon(self) -> None:
        """When it was interrupted: `end`, as a failure."""
        self.failure = self.failure or Failed("interrupted; run the same command again: it resumes from what is done")
        self.end()

    # -- secrets, read only when a host needs them

    def content(self, file: File) -> bytes:
        return self.issuing.store.key(file.content.name) if isinstance(file.content, Stored) else file.content
