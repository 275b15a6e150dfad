"""`kubewright upgrade`, `rollback` and their looks: one session, one plan, whose waves are the order."""

from __future__ import annotations

import datetime as dt
import shutil
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from kubewright.artifacts import Missing
from kubewright.errors import BadInput, Failed, HostsUnfit, KubewrightError, Problem
from kubewright.model.build import make_plan
from kubewright.model.places import HOME
from kubewright.observe.live import active_version, live_of
from kubewright.observe.observed import Observed
from kubewright.plan import payloads
from kubewright.plan.move import ETCD, EVICTION_SECONDS, Move, Running, running
from kubewright.plan.wave import Wave, roles_of
from kubewright.releases import Release, release_for
from kubewright.releases.version import Version
from kubewright.run.connection import connected, everyone, execute
from kubewright.run.events import Event
from kubewright.run.run import Run
from kubewright.run.session import Session
from kubewright.run.steps import before_changes
from kubewright.spec import ClusterSpec, load
from kubewright.verbs.apply import Summary, carry_out
from kubewright.verbs.upgrade import asking, checks, skew, telling
from kubewright.verbs.upgrade.naming import spec_for, write_release
from kubewright.verbs.upgrade.telling import Step


@dataclass(frozen=True, kw_only=True)
class Options:
    """`plan`: show it only, with stand-ins for artifacts that are not on this machine. `to`: the release of a rollback, when it
    is named. `unasked`: nobody sees what is to be done before it is."""

    max_unavailable: int = 1
    eviction_seconds: int = EVICTION_SECONDS
    break_lock: bool = False
    plan: bool = False
    to: str = ""
    unasked: bool = False


@dataclass(kw_only=True)
class Outcome:
    """What is to be done, and, once it was, how it went."""

    move: Move
    running: Running
    """Before."""
    steps: tuple[Step, ...] = ()
    remarks: tuple[str, ...] = ()
    announced: tuple[str, ...] = ()
    """What can't be taken back: a person is asked."""
    missing: tuple[Missing, ...] = ()
    summary: Summary | None = None
    """None when nothing was carried out."""
    edited: bool = True
    """Whether cluster.yaml names the release now."""


@dataclass(kw_only=True)
class Checks:
    """The verb's own findings for a run; `remarks` are those of the last look."""

    move: Move
    remarks: tuple[str, ...] = ()
    running: Running = field(default_factory=Running)

    def __call__(self, run: Run) -> tuple[list[Problem], list[Problem]]:
        """See `Run.further`."""
        self.running = running(run.observed, run.live)
        if silent := checks.silent(self.running, run.observed, run.live):
            return [], silent
        scene = checks.Scene(
            plan=run.plan,
            move=self.move,
            live=run.live,
            observed=run.observed,
            entries=run.issuing.store.entries,
            answers=asking.ask(run),
            # Not by a unit without a record: an apply that failed leaves one too, and must not silence the checks.
            begun=self.running.begun(self.move),
            free_here=shutil.disk_usage(run.inventory).free,
            now=dt.datetime.now(dt.UTC),
        )
        self.remarks = tuple(checks.remarks(scene))
        return skew.findings(self.running, self.move), checks.findings(scene)


Accept = Callable[[Outcome], bool]
"""Sees what is to be done. False: nothing is."""


def upgrade(
    inventory: Path, waves: tuple[Wave, ...], notify: Callable[[Event], None], to: str, options: Options, accept: Accept
) -> Outcome:
    """Bring the live cluster to the release `to`, or do the rest of it after an interruption; then cluster.yaml names it.

    BadInput before any host is asked. HostsUnfit, Refused or Failed when something stands in the way, before anything is
    changed; what fails later is in the summary.
    """
    began, target = time.monotonic(), release_for(to)
    session = _session(inventory, spec_for(inventory, target), waves, notify, "upgrade", options)
    with connected(session):
        return _carry_out(session, waves, _move("upgrade", target, options), options, accept, began)


def rollback(
    inventory: Path, waves: tuple[Wave, ...], notify: Callable[[Event], None], options: Options, accept: Accept
) -> Outcome:
    """Bring the live cluster back to the release before, from the middle of an upgrade or after it. `waves` are in the order
    back. See `upgrade`."""
    began = time.monotonic()
    session = _session(inventory, load(inventory), waves, notify, "rollback", options)
    with everyone(session):
        session.observe_all()
        target = release_back(session.observed, session.spec.kubernetes, options.to, unasked=options.unasked and not options.plan)
        session.spec = spec_for(inventory, target)
        session.plan = replace(make_plan(session.spec), absent=session.without)
        return _carry_out(session, waves, _move("rollback", target, options), options, accept, began)


def status(inventory: Path, waves: tuple[Wave, ...], notify: Callable[[Event], None]) -> Running:
    """What runs where. HostsUnfit when a host does not answer. Nothing is changed."""
    session = _session(inventory, load(inventory), waves, notify, "upgrade", Options())
    with everyone(session):
        session.observe_all()
        return running(session.observed, live_of(session.observed))


def release_back(observed: Mapping[str, Observed], named: str, to: str, *, unasked: bool) -> Release:
    """The release that a rollback goes to. BadInput when it is not the one in `to`, or goes further back than what runs, and
    nobody has named it or is asked: a rollback that has ended would be followed by another one."""
    own = [v for part, of in running(observed, live_of(observed)).components.items() if part != ETCD for v in of.values()]
    earliest = str(min(own, default=""))
    if to and to == earliest:
        return release_for(to)
    found = release_before(observed, named)
    if to and to != found.kubernetes:
        what = f"this cluster does not go back to {to}"
    elif not to and unasked and found.kubernetes != earliest:
        what = f"missing, with --yes and a cluster that runs {earliest} everywhere"
    else:
        return found
    problem = Problem(where="--to", what=what, allowed=found.kubernetes, todo=f"kubewright rollback --to {found.kubernetes}")
    raise BadInput([problem])


def release_before(observed: Mapping[str, Observed], named: str) -> Release:
    """The release that a rollback goes to. `named`: the one of cluster.yaml. Failed when the hosts do not have one."""
    kept: dict[str, frozenset[str]] = {}
    sent: set[Version] = set()
    for name, host in observed.items():
        before = _apiservers(path for kind, _, path in map(_parts, host.payloads) if kind == payloads.BEFORE)
        if "kube-apiserver.service" in host.started_with:
            kept[name] = before
        # What a record does not call before is of this release, or of a move that has not ended: its last step but the
        # add-ons' writes the record and removes the folders that nothing needs.
        folders = (f"{path}/kube-apiserver" for path, entry in host.entries.items() if entry.kind == "d")
        now = (path for kind, _, path in map(_parts, host.payloads) if kind == payloads.NOW)
        sent.update(Version.parse(version) for version in _apiservers((*folders, *now)) - before)
    found = skew.before(running(observed, live_of(observed)), kept, Version.parse(named), frozenset(sent))
    if found is None:
        raise Failed(
            "no rollback: the masters do not have the folders of an earlier release (/var/lib/kubewright/payloads lists none), "
            "or this kubewright does not know that release; the way back is the snapshot, as docs/runbooks/rollback.md says"
        )
    return found


def _parts(line: str) -> tuple[str, str, str]:
    return line.partition(" ")


def _apiservers(paths: Iterable[str]) -> frozenset[str]:
    """The versions of kube-apiserver among those binaries."""
    own = (path for path in paths if path.startswith(f"{HOME}/kube-apiserver/") and path.endswith("/kube-apiserver"))
    return frozenset(version for path in own if (version := active_version(path)))


def _move(verb: str, target: Release, options: Options) -> Move:
    return Move(
        verb="upgrade" if verb == "upgrade" else "rollback",
        target=target,
        max_unavailable=options.max_unavailable,
        eviction_seconds=options.eviction_seconds,
    )


def _session(
    inventory: Path, spec: ClusterSpec, waves: tuple[Wave, ...], notify: Callable[[Event], None], verb: str, options: Options
) -> Session:
    return Session(
        inventory=inventory, spec=spec, roles=roles_of(waves), notify=notify, verb=verb, break_lock=options.break_lock,
    )  # fmt: skip


def _carry_out(session: Session, waves: tuple[Wave, ...], move: Move, options: Options, accept: Accept, began: float) -> Outcome:
    found = Checks(move=move)
    run = Run(session=session, waves=waves, move=move, obtains=not options.plan, further=found)
    execute(run, before_changes())
    if error := run.failure or _unreached(run):
        raise error
    outcome = Outcome(
        move=move,
        running=found.running,
        steps=telling.steps(run, move, found.running),
        remarks=found.remarks,
        announced=telling.announced(found.running, move),
        missing=tuple(bundle.missing for _, bundle in sorted(run.bundles.items()) if bundle.missing),
    )
    if not accept(outcome):
        return outcome
    outcome.summary = carry_out(run, began)
    if outcome.summary.failure is None:
        outcome.edited = write_release(session.inventory, move.target)
    return outcome


def _unreached(run: Run) -> KubewrightError | None:
    return HostsUnfit(run.unreachable) if run.unreachable else None
