"""`kubewright node add`, `remove`, `replace`: hosts join and leave a live cluster, in one session of several plans."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from kubewright import disk
from kubewright.errors import BadInput, Failed, HostsUnfit, Problem, Refused
from kubewright.model.build import make_plan
from kubewright.model.certificates import hosts_of
from kubewright.model.cluster import Gone, Plan
from kubewright.model.lineage import Lineage
from kubewright.observe.live import UNITS, Live, live_of
from kubewright.plan import membership, transition
from kubewright.plan.membership import Change, Kind, Step
from kubewright.plan.wave import Wave, roles_of
from kubewright.run import drain, leadership, lineage_copy
from kubewright.run import snapshot as snapshots
from kubewright.run.connection import connected
from kubewright.run.events import Event
from kubewright.run.run import Run
from kubewright.run.session import Session
from kubewright.spec import ClusterSpec, load
from kubewright.spec.checks import without
from kubewright.spec.edit import without_hosts
from kubewright.spec.load import require, spec_file
from kubewright.verbs.apply import Summary, carry_out, left_out
from kubewright.verbs.reset import wipe_script
from pki.store import Store
from pki.vault import Vault, password_from

_CLEAR = """set -- /var/lib/etcd/member/wal/*.wal
[ -e "$1" ] || { systemctl stop etcd.service 2>/dev/null; rm -rf /var/lib/etcd/member; }
"""
"""On a host that lost its member's data: the rest of it. A write-ahead log is never removed here."""


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What a person asks for. `replaced` are the rebuilt hosts, which keep their names."""

    verb: str
    leaving: tuple[str, ...] = ()
    joining: tuple[str, ...] = ()
    replaced: tuple[str, ...] = ()
    dead: bool = False
    """Hosts of `leaving` that do not answer are gone for good: they are neither drained nor emptied."""
    seconds: int = 320
    """How long a node may take to be drained."""

    @property
    def command(self) -> str:
        return f"kubewright {self.verb} {' '.join((*self.leaving, *self.joining, *self.replaced))}".rstrip()


@dataclass(kw_only=True)
class Outcome:
    """What was done. `summaries`: one for each run that began; the last one's failure is the command's."""

    steps: tuple[Step, ...] = ()
    summaries: list[Summary] = field(default_factory=list)
    held: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """By host that left: what it had, and how that ends."""
    valid: frozenset[str] = frozenset()
    """Those of `held` whose keys were not removed with them."""
    edited: bool = True
    """Whether cluster.yaml names none of them any more."""

    @property
    def failure(self) -> Exception | None:
        return self.summaries[-1].failure if self.summaries else None


def change(
    inventory: Path,
    waves: tuple[Wave, ...],
    notify: Callable[[Event], None],
    wanted: Wanted,
    *,
    without_hosts: Collection[str] = (),
    break_lock: bool = False,
    snapshot: bool = True,
    accept: Callable[[Outcome], bool] = lambda _outcome: True,
) -> Outcome:
    """Carry out all steps, or the rest of them after an interruption. `accept` sees them first; nothing is done when it is
    false.

    BadInput before any host is asked. Failed, HostsUnfit or Refused when something stands in the way; what a run could not do
    is in its summary.
    """
    spec = load(inventory, leaving=wanted.leaving)
    out = frozenset(without_hosts)
    strangers = _refuse_unknown(inventory, spec, wanted, out)
    session = Session(
        inventory=inventory, spec=spec, roles=roles_of(waves), notify=notify, verb=wanted.verb, break_lock=break_lock,
        lasting=True, without=out,
    )  # fmt: skip
    with connected(session):
        _refuse_silent(session, wanted)
        session.observe_all()

        def bring(run: Run) -> Summary:
            return carry_out(run, time.monotonic())

        def wipe(name: str) -> None:
            host = session.remotes[name]
            host.run("systemctl stop kube-apiserver.service 2>/dev/null; true", timeout=180)
            answer = host.run(wipe_script(session.plan, session.roles), timeout=300)
            if answer.status != 0:
                raise Failed(f"{name}: not everything could be removed: {answer.stderr.strip()}; run the same command again")

        def save() -> None:
            if snapshot:
                snapshots.take(session, "nothing was changed; repair etcd, or go on without: --no-snapshot")

        members = Members(
            session=session, waves=waves, wanted=wanted, strangers=strangers, bring=bring, wipe=wipe, save=save
        )  # fmt: skip
        return members.carry_out(accept)


@dataclass(kw_only=True)
class Members:
    """The steps on a session whose hosts were observed. `bring` carries out a run, `wipe` empties a host."""

    session: Session
    waves: tuple[Wave, ...]
    wanted: Wanted
    strangers: tuple[Gone, ...] = ()
    """Hosts of `wanted.leaving` that cluster.yaml does not name."""
    bring: Callable[[Run], Summary]
    wipe: Callable[[str], None]
    save: Callable[[], None] = lambda: None
    """Takes a snapshot of etcd: a host that is emptied loses its data, and the snapshots that its timer took."""

    def __post_init__(self) -> None:
        self._last: Run | None = None
        self._rebuilt: set[str] = set()

    def carry_out(self, accept: Callable[[Outcome], bool] = lambda _outcome: True) -> Outcome:
        """See `change`."""
        session, live = self.session, live_of(self.session.observed)
        asked = self._asked(live)
        outcome = Outcome(steps=membership.steps(live, asked))
        wiped = {name for step in outcome.steps if step.kind is Kind.WIPE for name in step.hosts}
        wiped |= {name for name in session.hosts if name not in asked.begun}  # by the same command, which was interrupted then
        for gone in asked.leaving:
            outcome.held[gone.name] = membership.held(_roles_of(asked, gone.name, session.inventory), wiped=gone.name in wiped)
        for name in sorted(n for n in self.wanted.replaced if n in session.observed and not session.observed[n].begun):
            # Its old disk may lie somewhere.
            outcome.held[name] = membership.held(_roles_of(asked, name, session.inventory), wiped=False)
        outcome.valid = frozenset(outcome.held) - {gone.name for gone in asked.leaving if gone.name in wiped}
        if not accept(outcome):
            return outcome
        self._look_again(outcome)
        if any(step.only in (membership.REMOVES, membership.LEAVES) for step in outcome.steps):
            self.save()
        for number, step in enumerate(outcome.steps, 1):
            session.say(f"step {number} of {len(outcome.steps)}: {step.title}")
            self._do(step, outcome)
            if outcome.failure is not None:
                return outcome
        outcome.edited = _edit(session.inventory, self.wanted.leaving)
        return outcome

    def _look_again(self, outcome: Outcome) -> None:
        """Under the lock: between the look at the hosts and the answer of a person another run may have changed anything. A run
        looks by itself."""
        if len(outcome.steps) == 1:
            return
        self.session.take_lock()
        self.session.observe_all()
        live = live_of(self.session.observed)
        if membership.steps(live, self._asked(live)) != outcome.steps:
            raise Failed("the cluster has changed since the steps were shown, so nothing was done; run the same command again")

    def _asked(self, live: Live) -> Change:
        session, wanted = self.session, self.wanted
        _refuse_silent_cluster(live)
        everything = session.plan
        target = make_plan(without(session.spec, wanted.leaving))
        nodes = [n for n in everything.nodes if n.name in wanted.leaving]
        gone = (*(Gone(name=n.name, address=str(n.address)) for n in nodes), *self.strangers)
        dead = [each for each in gone if each.name not in session.hosts]
        self._refuse_ready(live, dead)
        observed = session.observed
        # One that does not answer costs the quorum a healthy member, as a lost one does: it leaves before others join.
        members = {n.name for n in nodes if n.is_etcd}
        self._refuse_other_edits(live, target, gone)
        self._refuse_left_out(live, target)
        self._refuse_old_data(live, target)
        self._refuse_ill(live, target, gone)
        # A reinstalled host with its data, on a disk of its own perhaps, is a member still: the last run installs it.
        self._rebuilt = {
            n
            for n in wanted.replaced
            if n in observed and not observed[n].etcd_data and (not observed[n].begun or observed[n].lost_etcd)
        }
        return Change(
            everything=replace(everything, absent=frozenset()),
            target=target,
            leaving=gone,
            dead=frozenset(each.name for each in dead),
            rebuilt=frozenset(self._rebuilt),
            kept=frozenset(n for n in self._rebuilt if observed[n].begun),
            begun=frozenset(name for name, o in observed.items() if o.begun),
            serving=frozenset(
                name
                for name, o in observed.items()
                if any(o.runs(unit) for unit in UNITS.values()) and (o.etcd is not None or name not in members)
            ),
        )

    def _refuse_ready(self, live: Live, leaving: Sequence[Gone]) -> None:
        """A host whose node is Ready runs pods: it is drained first, and it is not dead."""
        ready = {n.name for n in live.api.nodes if n.ready} if live.api else set()
        if found := [self._running(gone.name) for gone in leaving if gone.name in ready]:
            raise Refused(found)

    def _refuse_other_edits(self, live: Live, target: Plan, leaving: Sequence[Gone]) -> None:
        """What the last run would refuse, an upgrade that has not ended for example: before anything is drained or emptied."""
        names = {gone.name for gone in leaving}
        plan = replace(target, gone=tuple(leaving), joining=frozenset(n.name for n in target.etcd_members))
        record = transition.record_of(live, lineage_copy.read(self.session.inventory))
        # A host that leaves may have another release: it was perhaps the one that could not be upgraded.
        staying = replace(live, hosts={name: host for name, host in live.hosts.items() if name not in names})
        issued = hosts_of(Store(self.session.inventory).entries, "kubelet-client")
        if found := transition.refused(transition.classify(record, staying, plan, issued)):
            raise Refused(found)

    def _refuse_left_out(self, live: Live, target: Plan) -> None:
        """A member joins only with its host: otherwise etcd would have a learner that never starts."""
        joining = membership.joining(live, target)
        if found := [
            Problem(
                where=name,
                what="it joins etcd, and is left out",
                allowed="a new member that answers",
                todo="let SSH reach it, or remove it from cluster.yaml until then",
            )
            for name in joining
            if name in self.session.without
        ]:
            raise Refused(found)

    def _refuse_old_data(self, live: Live, target: Plan) -> None:
        """A member that was removed never starts again: its data would make a learner that can't learn."""
        listed = {url for member in live.etcd.members for url in member.peer_urls} if live.etcd else set()
        observed = self.session.observed
        if found := [
            Problem(
                where=node.name,
                what="it is no member of etcd, and has the data of one (/var/lib/etcd/member)",
                allowed="a new member without data",
                todo=f"to take it out: kubewright node remove {node.name}; to keep it: on the host, systemctl stop etcd and move "
                f"/var/lib/etcd/member away, then: kubewright node replace {node.name}",
            )
            for node in target.etcd_members
            if node.name in observed and observed[node.name].etcd_data and membership.peer(node) not in listed
        ]:
            raise Refused(found)

    def _refuse_ill(self, live: Live, target: Plan, leaving: Sequence[Gone]) -> None:
        """Clients do not turn to hosts that do not serve: those that stay are asked, before those that leave are taken away."""
        names, observed = {gone.name for gone in leaving}, self.session.observed
        found = []
        if any(n.is_master for n in self.session.plan.nodes if n.name in names):
            known = {node.name for node in live.api.nodes} if live.api else set()
            old = [n.name for n in target.masters if n.name in known]  # new ones are installed before clients turn to them
            if old and not any(name in observed and observed[name].api for name in old):
                found.append(self._ill(old, "no apiserver of a master that stays answers", "one of them"))
        if any(n.is_etcd for n in self.session.plan.nodes if n.name in names):
            joining = membership.joining(live, target)
            old = [n.name for n in target.etcd_members if n.name not in joining and n.name not in self.wanted.replaced]
            ill = [name for name in old if name not in observed or observed[name].etcd is None]
            if len(old) - len(ill) < len(old) // 2 + 1 and old:
                found.append(
                    self._ill(ill, "etcd does not answer on most members that stay", f"{len(old) // 2 + 1} of {len(old)}")
                )
        if found:
            raise Refused(found)

    def _ill(self, names: Sequence[str], what: str, allowed: str) -> Problem:
        todo = "repair them first: kubewright verify, then kubewright apply"
        return Problem(where=", ".join(names), what=what, allowed=allowed, todo=todo)

    def _running(self, name: str) -> Problem:
        if self.wanted.dead:
            return Problem(
                where=name,
                what="its node is Ready, so it runs pods, or has stopped less than a minute ago",
                allowed="with --dead, a host that is gone for good",
                todo="let SSH reach it, so that it is drained and emptied; if it is gone, wait until its node is not Ready",
            )
        return Problem(
            where=name,
            what="its node is Ready, and cluster.yaml does not name it: it can't be drained and emptied",
            allowed="a host of cluster.yaml, or one that is gone for good",
            todo=f"put it back into cluster.yaml and run the same command again; if it is gone: {self.wanted.command} --dead",
        )

    def _do(self, step: Step, outcome: Outcome) -> None:
        session = self.session
        match step.kind:
            case Kind.RUN:
                assert step.plan is not None
                self._hand_over(step)
                session.turn_to(step.plan)
                run = Run(session=session, waves=self.waves, only=step.only)
                outcome.summaries.append(self.bring(run))
                self._last = run
                self._clear(step, outcome)
            case Kind.DRAIN:
                self._begin()
                drain.evacuate(session, *step.hosts, seconds=self.wanted.seconds)
                for name in step.hosts:
                    session.note("drain", name, ("drain its node",))
            case Kind.WIPE:
                self._begin()
                for name in step.hosts:
                    session.forget(name)
                    self.wipe(name)
                    session.note("wipe", name, ("remove everything",))
            case Kind.FORGET:
                self._begin()
                vault = self._last.issuing.vault if self._last else None  # which has asked for its password
                if rows := _forget(session, vault, step.hosts):
                    session.note("certificates", "this machine", tuple(f"remove {row}" for row in rows))

    def _hand_over(self, step: Step) -> None:
        """Before a member leaves that may lead: the leadership goes first, with no write failing."""
        if step.only != membership.LEAVES or self._last is None:
            return
        assert step.plan is not None
        etcd = next(role for role in roles_of(self.waves) if role.name == "etcd")
        for node in self._last.plan.etcd_members:
            if node.name in self._last.plan.leaving and node.name in self.session.hosts:
                leadership.hand_over(self._last, etcd, node.name)

    def _clear(self, step: Step, outcome: Outcome) -> None:
        """Once its old member is out of the list: what is left of a lost member's data would stand in the new one's way."""
        if step.only == membership.REMOVES and outcome.failure is None:
            for name in sorted(self._rebuilt):
                self.session.everyone[name].shell(_CLEAR)

    def _begin(self) -> None:
        self.session.take_lock()
        self.session.begin()


def _refuse_unknown(inventory: Path, spec: ClusterSpec, wanted: Wanted, out: frozenset[str]) -> tuple[Gone, ...]:
    """The leaving hosts that cluster.yaml does not name, as the record has them. BadInput for names that nothing has."""
    named, record = {host.name for host in spec.hosts}, lineage_copy.read(inventory)
    # A run that was killed at its end has removed them from the record, and not their certificates. Then etcd has no address
    # of them any more.
    recorded = dict.fromkeys(membership.certified(Store(inventory).entries), "")
    recorded |= {host.name: host.address for host in record.hosts.values()} if record else {}
    where, found = wanted.verb, []
    for name in (*wanted.joining, *wanted.replaced, *out):
        if name not in named:
            allowed = f"a host of cluster.yaml: {', '.join(sorted(named))}"
            found.append(Problem(where=where, what=f"no such host ({name})", allowed=allowed, todo="add it to cluster.yaml"))
    for name in wanted.leaving:
        if name not in named and name not in recorded:
            allowed = f"one of {', '.join(sorted(named | recorded.keys()))}"
            found.append(Problem(where=where, what=f"no such host ({name})", allowed=allowed, todo="correct the name"))
    for name in sorted(out & {*wanted.leaving, *wanted.joining, *wanted.replaced}):
        todo = "leave --without away; a host that leaves and is gone for good: --dead"
        found.append(Problem(where=where, what=f"it is left out, too ({name})", allowed="a host that is not left out", todo=todo))
    for name in sorted(set(wanted.leaving) & {*wanted.joining, *wanted.replaced}):
        found.append(
            Problem(where=where, what=f"it leaves and joins ({name})", allowed="one of them", todo="name a rebuilt host once")
        )
    if {host.name for host in spec.hosts} <= {*wanted.leaving, *out}:
        found.append(Problem(where=where, what="no host would be left", allowed="at least one", todo="see kubewright reset"))
    if found:
        raise BadInput(found)
    if out:
        left_out(without(spec, wanted.leaving), sorted(out))
    return tuple(Gone(name=n, address=recorded[n]) for n in wanted.leaving if n not in named)


def _refuse_silent(session: Session, wanted: Wanted) -> None:
    """HostsUnfit with each host that does not answer; one that leaves may be dead."""
    if wanted.dead:
        session.unreachable[:] = [problem for problem in session.unreachable if problem.where not in wanted.leaving]
    found = [
        replace(problem, todo=f"start it; if it is gone for good: {wanted.command} --dead")
        if problem.where in wanted.leaving
        else problem
        for problem in session.unreachable
    ]
    if found:
        raise HostsUnfit(found)


def _refuse_silent_cluster(live: Live) -> None:
    silent = [name for name, answer in (("etcd", live.etcd), ("the API", live.api)) if answer is None]
    if silent:
        raise Failed(
            f"{' and '.join(silent)} does not answer on any host, so hosts can't join or leave; see kubewright verify; "
            "when most members of etcd are lost, see docs/runbooks/etcd.md; a new cluster is made by: kubewright apply"
        )


def _roles_of(asked: Change, name: str, inventory: Path) -> frozenset[str]:
    node = next((n for n in asked.everything.nodes if n.name == name), None)
    if node is not None:
        parts = {"master": node.is_master, "etcd": node.is_etcd, "node": node.runs_pods}
        return frozenset(part for part, has in parts.items() if has)
    record: Lineage | None = lineage_copy.read(inventory)
    found = next((host.roles for host in record.hosts.values() if host.name == name), ()) if record else ()
    return frozenset(found) | ({"node"} if "worker" in found else frozenset())


def _forget(session: Session, vault: Vault | None, names: Sequence[str]) -> tuple[str, ...]:
    store = Store(session.inventory, vault or Vault(password_from(session.spec.secrets.password_file)))
    with store.locked():
        rows = membership.rows_of(store.entries, names)
        if rows:
            store.change(remove=rows)
    return rows


def _edit(inventory: Path, names: Collection[str]) -> bool:
    """Take those hosts out of cluster.yaml. Whether none of them is in it."""
    if not names:
        return True
    raw, path = require(inventory), spec_file(inventory)
    edited = without_hosts(raw, names)
    if edited is None:
        return False
    if edited != raw:
        disk.replace(path, edited, mode=path.stat().st_mode & 0o777)
    return True
