"""`kubewright apply` and `plan`: the waves of deploy/waves.py through pyinfra's API, with progress and a summary."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gevent

from kubewright.artifacts import Missing
from kubewright.errors import BadInput, Failed, HostsUnfit, KubewrightError, Problem
from kubewright.model.cluster import Plan
from kubewright.observe.observed import Observed
from kubewright.plan import preview, saved
from kubewright.plan.transition import Difference
from kubewright.plan.wave import Wave, roles_of
from kubewright.run.connection import connected, execute
from kubewright.run.events import Event
from kubewright.run.run import Run
from kubewright.run.session import Session
from kubewright.run.steps import Step, before_changes, step_of, steps
from kubewright.spec import ClusterSpec, load
from kubewright.spec.load import spec_file
from kubewright.verbs.kubeconfig import write_admin_kubeconfig
from pki.decisions import Verdict
from pki.store import INDEX


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What a run did. Seconds by step; remote commands and bytes by host."""

    changed: dict[tuple[str, str], tuple[str, ...]]
    undone: dict[str, tuple[str, ...]]
    """After a failure: the steps that a host still needs."""
    unmanaged: tuple[str, ...]
    """Nodes that the cluster has and the spec does not name."""
    without: tuple[str, ...]
    seconds: dict[str, float]
    counts: dict[str, int] = field(default_factory=dict)
    """The number of changes that each step made."""
    total: float
    commands: dict[str, int]
    sent: dict[str, int]
    failure: Exception | None
    differences: tuple[Difference, ...] = ()
    """What the plan changed about the live cluster, each with its class."""


@dataclass(frozen=True, kw_only=True)
class Preview:
    """What would change. `certificates` as (verdict, name, reason), then each host's lines, and the plan to save."""

    certificates: tuple[tuple[str, str, str], ...]
    lines: tuple[preview.Line, ...]
    differences: tuple[Difference, ...]
    """What the plan changes about the live cluster, each with its class."""
    unmanaged: tuple[str, ...]
    kept_namespaces: tuple[str, ...]
    """Namespaces of workgroups that are no longer in cluster.yaml."""
    missing: tuple[Missing, ...]
    """Artifacts that are not on this machine: lines that are about them have stand-ins for their sums."""
    document: dict[str, Any]

    def __bool__(self) -> bool:
        return bool(self.lines or due(self) or self.missing)

    def save(self, path: Path) -> None:
        """Save it for `apply`. Failed when artifacts are missing: a saved plan holds the sum of each."""
        if self.missing:
            commands = "".join(f"\n  {missing.command}" for missing in self.missing)
            raise Failed(
                f"{path}: not written, because a saved plan holds the sum of every artifact, and some are not on this machine; "
                f"get them, then make the plan again:{commands}"
            )
        saved.save(path, self.document)


def _document(run: Run) -> dict[str, Any]:
    artifacts = {
        f"{binary.name} {binary.version} {architecture}": binary.sha256
        for (_, architecture), bundle in run.bundles.items()
        for binary in bundle.binaries
    }
    artifacts |= {
        f"archive {archive.name} {architecture}": archive.sha256
        for (_, architecture), bundle in run.bundles.items()
        for archive in bundle.archives
    }
    every = {name: run.changes_of(name) for name in run.observed}
    return saved.document(spec_file(run.inventory), run.inventory / INDEX, artifacts, run.observed, every, deep=run.session.deep)


def _refuse_stale(plan: dict[str, Any]) -> Callable[[Run], None]:
    def accept(run: Run) -> None:
        if found := saved.moved(plan, _document(run)):
            raise Failed(
                "the saved plan is not carried out, because something has changed since it was made:\n"
                + "\n".join(f"  {what}" for what in found)
                + "\nmake a new plan: kubewright plan -o"
            )

    return accept


def left_out(spec: ClusterSpec, names: Sequence[str]) -> frozenset[str]:
    """The hosts to go on without. BadInput when one is unknown, or the cluster could not do without them."""
    known, out = {host.name for host in spec.hosts}, frozenset(names)
    where = "--without"
    found = [
        Problem(where=where, what=f"no such host ({name})", allowed=f"one of {', '.join(sorted(known))}", todo="correct it")
        for name in sorted(out - known)
    ]
    members = {host.name for host in spec.etcd_hosts}
    if len(members - out) <= len(members) // 2:
        found.append(
            Problem(
                where=where,
                what=f"etcd would have {len(members - out)} of {len(members)} members "
                f"(without {', '.join(sorted(out & members))})",
                allowed=f"at least {len(members) // 2 + 1}: a quorum",
                todo="bring one back first",
            )
        )
    if out >= {host.name for host in spec.masters}:
        found.append(Problem(where=where, what="no master would be left", allowed="at least one", todo="bring one back first"))
    if found:
        raise BadInput(found)
    return out


def apply(
    inventory: Path,
    waves: tuple[Wave, ...],
    notify: Callable[[Event], None],
    *,
    plan: Path | None = None,
    without: Sequence[str] = (),
    break_lock: bool = False,
    deep: bool = False,
    verb: str = "apply",
    renew: frozenset[str] = frozenset(),
) -> Summary:
    """Bring the hosts to what the spec says, or carry out exactly the saved `plan`.

    `deep`: rehash the hosts' binaries. `verb`: what lock and journal call it. `renew`: certificates to renew.

    BadInput before any host is asked; whatever fails later is in the summary.
    """
    began = time.monotonic()
    spec = load(inventory)
    made = saved.load(plan) if plan else None
    if made and plan:  # it rests on what its hosts were asked then: they are asked the same again
        deep = saved.depth(made, plan, deep=deep)
    session = Session(
        inventory=inventory, spec=spec, roles=roles_of(waves), notify=notify, verb=verb,
        without=left_out(spec, without), break_lock=break_lock, deep=deep,
    )  # fmt: skip
    with connected(session):
        run = Run(session=session, waves=waves, renew=renew, accept=_refuse_stale(made) if made else lambda _run: None)
        return carry_out(run, began)


def carry_out(run: Run, began: float, every: Sequence[Step] = ()) -> Summary:
    """The run on its session's open connections. `began`: when its verb did, on the monotonic clock. See `apply`.

    `every`: its steps, where they are more than those of its waves.
    """
    seconds: dict[str, float] = {"connect": time.monotonic() - began}
    before = {name: (host.commands, host.sent) for name, host in run.hosts.items()}
    try:
        execute(run, tuple(_timed(step, run, seconds) for step in every or steps(run.waves, run.only)))
        if run.failure is None and not run.unreachable:
            write_admin_kubeconfig(run.inventory, run.plan, run.issuing.store)
    except BaseException:
        run.abandon()
        raise
    undone = _undone(run)
    run.end()
    return Summary(
        changed=run.changed,
        undone=undone,
        unmanaged=_unmanaged(run),
        without=tuple(sorted(run.session.without)),
        seconds=seconds,
        counts=_counts(run),
        total=time.monotonic() - began,
        commands={name: host.commands - before[name][0] for name, host in run.hosts.items()},
        sent={name: host.sent - before[name][1] for name, host in run.hosts.items()},
        failure=run.failure or _unreached(run),
        differences=tuple(d for d in run.differences if not d.refused),
    )


def make_preview(
    inventory: Path, waves: tuple[Wave, ...], notify: Callable[[Event], None], without: Sequence[str], *, deep: bool = False
) -> Preview:
    """What apply would do. Nothing is changed anywhere, no key is made. Raises what stands in the way."""
    spec = load(inventory)
    session = Session(
        inventory=inventory, spec=spec, roles=roles_of(waves), notify=notify, verb="plan", without=left_out(spec, without),
        deep=deep,
    )  # fmt: skip
    with connected(session):
        run = Run(session=session, waves=waves, obtains=False)
        execute(run, before_changes())
        if error := run.failure or _unreached(run):
            raise error
        contents = {name: gevent.spawn(_contents, run, name) for name in run.observed}
        gevent.joinall(list(contents.values()), raise_error=True)
        return Preview(
            certificates=tuple((str(d.verdict), d.name, d.reason) for d in run.issuing.decisions),
            lines=tuple(
                line
                for name in (n.name for n in run.plan.nodes if n.name in run.observed)
                for line in preview.lines(name, run.changes_of(name), run.observed[name], contents[name].value)
            ),
            differences=run.differences,
            unmanaged=_unmanaged(run),
            kept_namespaces=kept_namespaces(run.plan, run.observed.values()),
            missing=tuple(bundle.missing for _, bundle in sorted(run.bundles.items()) if bundle.missing),
            document=_document(run),
        )


def kept_namespaces(plan: Plan, observed: Iterable[Observed]) -> tuple[str, ...]:
    """Namespaces that kubewright made for workgroups which are no longer in cluster.yaml."""
    names = {group.name for group in plan.workgroups}
    ours = (found for host in observed for found in host.objects if found.owned and found.task == "workgroups")
    return tuple(sorted({found.ref.name for found in ours if found.ref.kind == "Namespace"} - names))


def _contents(run: Run, name: str) -> Any:
    paths = [p for p in preview.shown(run.changes_of(name)) if p in run.observed[name].entries]
    return run.hosts[name].read(paths) if paths else {}


def _counts(run: Run) -> dict[str, int]:
    step, found = step_of(run.waves), Counter[str]()
    for (role, _), sentences in run.changed.items():
        found[step[role]] += len(sentences)
    return dict(found)


def _undone(run: Run) -> dict[str, tuple[str, ...]]:
    if run.failure is None or not run.bundles:
        return {}
    every = {name: [role for role, c in run.changes_of(name).items() if c] for name in run.observed}
    left = {name: tuple(r for r in found if (r, name) not in run.changed) for name, found in every.items()}
    return {name: found for name, found in left.items() if found}


def _unmanaged(run: Run) -> tuple[str, ...]:
    known = {n.name for n in run.plan.kubelets}
    told = {difference.where for difference in run.differences}
    return tuple(sorted({node.name for node in run.live.api.nodes} - known - told)) if run.live.api else ()


def _unreached(run: Run) -> KubewrightError | None:
    return HostsUnfit(run.unreachable) if run.unreachable else None


def _timed(step: Step, run: Run, seconds: dict[str, float]) -> Step:
    began: list[float] = []

    def timed(step_run: Run, host: str) -> None:
        if not began:
            began.append(time.monotonic())
            run.session.notify(Event(kind="step", step=step.title))
        try:
            step.run(step_run, host)
        finally:
            seconds[step.title] = time.monotonic() - began[0]

    return Step(title=step.title, run=timed)


def due(found: Preview) -> tuple[tuple[str, str, str], ...]:
    """The certificates that apply does something about, or can't be applied without."""
    return tuple(c for c in found.certificates if c[0] not in (Verdict.KEEP, Verdict.AWAIT))
