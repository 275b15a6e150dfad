"""`kubewright restore`: a backup becomes the cluster on the hosts of cluster.yaml, the same as before or others.

The steps of an apply, with four more before etcd's: the data is made beside each member's, what uses etcd stops on all
hosts, the data changes places, and all hosts are observed again. So everything that is missing on a new host is installed,
and every component starts.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import gevent
from gevent.lock import RLock

from kubewright.backup import archive
from kubewright.backup.age import Opener
from kubewright.backup.manifest import SNAPSHOT, Manifest
from kubewright.backup.scratch import scratch
from kubewright.errors import Failed, Problem, Refused
from kubewright.model.cluster import Plan
from kubewright.model.lineage import Lineage, generation_of, token
from kubewright.observe.observed import Observed
from kubewright.plan.wave import Wave, roles_of
from kubewright.run import lineage_copy
from kubewright.run.connection import everyone
from kubewright.run.events import Event
from kubewright.run.preflight.restored import RESTORE, ended, restored_token
from kubewright.run.run import Run
from kubewright.run.session import Session
from kubewright.run.steps import Step, steps
from kubewright.spec import load
from kubewright.verbs.apply import Summary, carry_out
from kubewright.verbs.backup import afterwards, seeding
from kubewright.verbs.backup import inventory as inventories
from kubewright.verbs.users import record as users
from kubewright.verbs.users.record import Issued

_BLOCK = 1 << 20


def restore(
    inventory: Path,
    waves: tuple[Wave, ...],
    notify: Callable[[Event], None],
    path: Path,
    *,
    openers: Sequence[Opener],
    replace_live: bool = False,
) -> Summary:
    """Restore the backup `path`. Killed anywhere, the same call resumes.

    Failed for a wrong password or a changed file; Refused for another cluster's backup, keys or a release that do not fit, and a
    cluster that answers, without `replace_live`. Nothing was written then. What fails later is in the summary.
    """
    began = time.monotonic()
    beside = inventory if inventory.is_dir() else inventory.absolute().parent
    with scratch(beside, ".restoring-") as backup:
        manifest = archive.extract(path, openers, backup)
        inventories.refuse(inventory, backup, manifest)
        if new := inventories.fill(inventory, backup, manifest):
            notify(Event(kind="say", text=f"from the backup: {', '.join(new)}"))
            if manifest.left_out:
                notify(Event(kind="say", text=f"not in the backup, and named by cluster.yaml: {', '.join(manifest.left_out)}"))
        session = Session(inventory=inventory, spec=load(inventory), roles=roles_of(waves), notify=notify, verb="restore")
        issued = users.read(inventory)
        inventories.refuse_release(session.plan.release, manifest)
        with everyone(session):
            # Before anything is asked: a restore that ends meanwhile, from another machine, would not be seen.
            session.take_lock()
            session.observe_all()
            record = lineage_copy.read(inventory)
            resumed = resumes(manifest, session.plan, record, session.observed)
            chosen = next_token(manifest, session.plan, record, session.observed)
            session.plan = replace(session.plan, etcd_token=chosen)
            before = members_before(record, session.plan)
            if found := list(live(session.observed, resumed=resumed, replace_live=replace_live, members=before)):
                raise Refused(found)
            run = Run(session=session, waves=waves, restores=True)
            restoring = Restoring(run=run, manifest=manifest, snapshot=backup / SNAPSHOT, record=record, issued=issued)
            try:
                return carry_out(run, began, restoring.steps())
            finally:
                for line in restoring.afterwards():
                    session.say(line)


def operation(manifest: Manifest, plan: Plan) -> str:
    """The record's words for the restore of that backup onto the plan's members. They are part of the data that a member gets:
    with others, the data of an earlier try is of another cluster."""
    members = hashlib.sha256(seeding.members(plan).encode()).hexdigest()
    return f"{RESTORE} {manifest.snapshot.sha256[:16]} {members[:8]}"


def resumes(manifest: Manifest, plan: Plan, record: Lineage | None, observed: Mapping[str, Observed]) -> bool:
    """Whether the same restore was begun, and did not end: neither from here nor from another machine."""
    if record is None or record.operation != operation(manifest, plan) or ended(record, observed.values()):
        return False
    return max(map(generation_of, _tokens(observed)), default=0) <= generation_of(record.etcd_token)


def next_token(manifest: Manifest, plan: Plan, record: Lineage | None, observed: Mapping[str, Observed]) -> str:
    """etcd's token after this restore: a generation that no member has had; the same one where the restore resumes."""
    if record is not None and resumes(manifest, plan, record, observed):
        return record.etcd_token
    known = [manifest.etcd_token, record.etcd_token if record else "", *_tokens(observed)]
    return token(manifest.cluster, max(map(generation_of, known)) + 1)


def _tokens(observed: Mapping[str, Observed]) -> Iterator[str]:
    """Every token that the hosts know."""
    for host in observed.values():
        yield from (host.etcd_token, restored_token(host), host.lineage.etcd_token if host.lineage else "")


def live(
    observed: Mapping[str, Observed], *, resumed: bool, replace_live: bool, members: Collection[str] = ()
) -> Iterator[Problem]:
    """Problems on hosts through which a cluster answers, or where it could again without a loss, unless it may be replaced.

    `members`: the names of etcd's members before the restore.
    """
    if resumed or replace_live:
        return
    answers = False
    for name, host in observed.items():
        if host.etcd is not None or host.api is not None:
            answers, what = True, "etcd" if host.etcd is not None else "the API"
            yield Problem(
                where=name,
                what=f"the cluster is live: {what} answers",
                allowed="hosts without a cluster that answers",
                todo="a restore whose last steps failed: kubewright apply ends it; to give up what it has since the backup: "
                "--replace-live; its etcd data is kept on the hosts",
            )
    have = sorted(name for name in members if name in observed and observed[name].etcd_data)
    if not answers and len(have) > len(members) // 2:
        yield Problem(
            where="etcd",
            what=f"it does not answer, but {', '.join(have)} of its {len(members)} members have their data: a quorum",
            allowed="a restore where most members have lost theirs",
            todo="start etcd there, which loses nothing: journalctl -u etcd says why it does not run, docs/runbooks/etcd.md how "
            "to go on; if the data is damaged: --replace-live; it is kept on the hosts",
        )


def members_before(record: Lineage | None, plan: Plan) -> frozenset[str]:
    """etcd's members by the record, else by cluster.yaml."""
    recorded = frozenset(member.name for member in record.members if member.name) if record else frozenset()
    return recorded or frozenset(node.name for node in plan.etcd_members)


@dataclass(kw_only=True)
class Restoring:
    """The steps of one restore, and what they need."""

    run: Run
    manifest: Manifest
    snapshot: Path
    record: Lineage | None
    issued: Sequence[Issued] = ()
    """The credentials that the inventory knows."""
    _seen: bool = False
    _noted: bool = False
    _once: RLock = field(default_factory=RLock)

    def steps(self) -> tuple[Step, ...]:
        every = steps(self.run.waves)
        etcd = next(w.title for w in self.run.waves if any(role.name == "etcd" for role in w.roles))
        at = next(n for n, step in enumerate(every) if step.title == etcd)
        return (
            *every[:at],
            Step(title="send the snapshot", run=self._send),
            Step(title="stop what uses etcd", run=self._stop),
            Step(title="restore etcd", run=self._seed),
            Step(title="observe the restored hosts", run=self._see),
            *every[at:],
        )

    def afterwards(self) -> Iterator[str]:
        """What people are told once the members have the backup's data, also where a later step has failed."""
        if self._seen:
            yield from afterwards.left_behind(self.record, self.run.observed)
            yield from afterwards.revived(self.issued, self.manifest.taken)

    def _note(self) -> None:
        """Before the first member changes: the record beside the inventory has the new token, so that the restore resumes."""
        with self._once:
            if self._noted:
                return
            if self.record is not None:
                hosts = (host.lineage.generation for host in self.run.observed.values() if host.lineage)
                generation = max([self.record.generation, *hosts]) + 1
                begun = replace(
                    self.record,
                    etcd_token=self.run.plan.etcd_token,
                    operation=operation(self.manifest, self.run.plan),
                    generation=generation,
                )
                lineage_copy.write(self.run.inventory, begun)
            self._noted = True

    def _send(self, run: Run, name: str) -> None:
        """All that can fail for want of space is done on every member before anything stops."""
        node, taken = run.plan.node(name), self.manifest.snapshot
        if not node.is_etcd:
            return
        run.session.begin(restore=self.manifest.taken)
        places = self._places(name)
        failed = "the snapshot can't be kept there, and nothing was stopped"
        if "ready" in self._script(name, seeding.room(run.plan, taken, places), failed).split():
            return
        answer = run.session.remotes[name].run(seeding.receive(places), self._blocks())
        if answer.status != 0:
            raise Failed(f"{name}: {failed}: {answer.stderr.strip()}; free space, then run it again")
        self._script(name, seeding.seed(run.plan, node, taken, places, prepares=True), failed)

    def _places(self, name: str) -> seeding.Places:
        return seeding.Places(etcdutl=self.run.context(name).payload("etcdutl").path)

    def _stop(self, run: Run, name: str) -> None:
        self._note()
        node = run.plan.node(name)
        if run.observed[name].begun:
            uses = seeding.stop(has_etcd_clients=node.is_master or node.is_etcd)
            self._script(name, uses, "what uses etcd can't be stopped")

    def _seed(self, run: Run, name: str) -> None:
        node, taken = run.plan.node(name), self.manifest.snapshot
        if not node.is_etcd:
            return
        self._script(name, seeding.seed(run.plan, node, taken, self._places(name)), "etcd's data can't be restored")
        text = f"etcd's data is that of {self.manifest.taken}, as {run.plan.etcd_token}"
        run.session.note("restore", name, (text,))
        run.session.notify(Event(kind="changed", step="restore etcd", host=name, text=text))

    def _see(self, run: Run, _name: str) -> None:
        """Whichever host comes first does it for all."""
        with self._once:
            if not self._seen:
                gevent.joinall([gevent.spawn(run.session.see, name) for name in run.hosts], raise_error=True)
                run.compare_again()
                self._seen = True

    def _script(self, name: str, script: str, failed: str) -> str:
        # As standard input: the member list may be long.
        answer = self.run.session.remotes[name].run("exec sh", [script.encode()], timeout=900)
        if answer.status != 0:
            raise Failed(f"{name}: {failed}: {answer.stderr.strip()}; run the same command again: it resumes")
        return answer.stdout

    def _blocks(self) -> Iterator[bytes]:
        with self.snapshot.open("rb") as file:
            while block := file.read(_BLOCK):
                yield block
