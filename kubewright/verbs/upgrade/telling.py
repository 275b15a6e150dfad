"""What a person is told about a move: its steps in order, where it stands, and the way back. Pure, but for the run it reads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kubewright.plan.move import ETCD, UNITS, Move, Running
from kubewright.plan.wave import Wave
from kubewright.releases.version import Version
from kubewright.run import drain
from kubewright.verbs.upgrade import skew

if TYPE_CHECKING:
    from kubewright.run.run import Run

_PARTS = {
    ETCD: (ETCD,),
    "apiserver": ("kube-apiserver",),
    "controllers": ("kube-controller-manager", "kube-scheduler"),
    "kubelets": ("kubelet", "kube-proxy"),
}
"""By wave, the components whose versions it changes."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """A step with the hosts that it changes, in their order."""

    title: str
    hosts: tuple[str, ...]
    detail: str = ""

    def __str__(self) -> str:
        where = f": {', '.join(self.hosts)}" if self.hosts else ""
        return f"{self.title}{where}{f' ({self.detail})' if self.detail else ''}"


def steps(run: Run, move: Move, running: Running) -> tuple[Step, ...]:
    """What is still to do, in order. Empty when nothing is."""
    found = tuple(_steps(run, move, running))
    if not found:
        return ()
    snapshot = Step(title="take a snapshot of etcd", hosts=(), detail="beside the inventory, in backups/")
    return (snapshot, *found)


def _steps(run: Run, move: Move, running: Running) -> Iterator[Step]:
    leaders = [name for name, host in run.observed.items() if host.etcd_leads]
    for wave in run.waves:
        hosts = [n.name for n in run.plan.nodes if n.name in run.observed and _due(run, wave, n.name)]
        if wave.title == "kubelets" and (held := sorted(drain.held(run) - {*hosts})):
            yield Step(title="let nodes take pods again that an interrupted command left cordoned", hosts=tuple(held))
        if not hosts:
            continue
        moving = _moving(wave.title, move, running, hosts)
        if wave.title == ETCD:
            hosts.sort(key=lambda name: name in leaders)
        yield Step(
            title=moving or _TITLES.get(wave.title, wave.title), hosts=tuple(hosts), detail=_detail(wave, move, bool(moving))
        )


_TITLES = {"base": "send binaries and images; nothing restarts", "kubelets": "change nodes"}


def _due(run: Run, wave: Wave, name: str) -> bool:
    return any(run.pending(role, name) for role in wave.roles)


def _moving(title: str, move: Move, running: Running, hosts: Sequence[str]) -> str:
    """The versions that the wave changes, `kube-apiserver 1.36.3 -> 1.37.1`; empty when it changes none."""
    changes = []
    for component in _PARTS.get(title, ()):
        target = move.version_of(component)
        was = sorted({v for name, v in running.of(component).items() if name in hosts and v != target})
        if was:
            changes.append(f"{component} {' and '.join(map(str, was))} -> {target}")
    return ", ".join(changes)


def _detail(wave: Wave, move: Move, moves: bool) -> str:
    if not moves:
        return ""
    if wave.title == "kubelets":
        most = "one at a time" if move.max_unavailable == 1 else f"at most {move.max_unavailable} at once"
        return f"{most}; each is drained first, and its pods get {move.eviction_seconds} s; then it takes pods again"
    return "one at a time, the leader last" if wave.title == ETCD else "one at a time"


def announced(running: Running, move: Move) -> tuple[str, ...]:
    """What can't be taken back, or only in part. Empty where `rollback` leads back without loss."""
    return tuple(_back(running, move) if move.verb == "rollback" else _no_return(running, move))


def _no_return(running: Running, move: Move) -> Iterator[str]:
    if why := skew.only_snapshot(running, move):
        yield f"no rollback leads back from this upgrade ({why}): only the snapshot does, and it loses what is written after it"
        return
    target = move.version_of(ETCD)
    if skew.crosses_etcd(running, move):
        yield (
            f"point of no return: once every member runs etcd {target}, its cluster version is {target.line}; "
            "from then on kubewright rollback must rewrite etcd's data (etcdctl downgrade)"
        )
    if _crosses(running, move):
        yield (
            f"{move.target.kubernetes} may store objects with fields and versions that the earlier release does not know; "
            "after a rollback, those fields are lost with the next write of the object; only the snapshot has the state of before"
        )


def _back(running: Running, move: Move) -> Iterator[str]:
    if _crosses(running, move):
        yield f"fields and objects that only the later release knows are not served by {move.target.kubernetes}"
    if skew.crosses_etcd(running, move):
        yield f"etcd's data is rewritten for {move.version_of(ETCD).line} (etcdctl downgrade), one member after the other"


def _crosses(running: Running, move: Move) -> bool:
    return any(version.line != move.target.version.line for version in running.of("kube-apiserver").values())


def table(running: Running) -> list[tuple[str, Mapping[Version, tuple[str, ...]]]]:
    """By component, in the order of an upgrade: its versions, the oldest first, with their hosts."""
    rows: list[tuple[str, Mapping[Version, tuple[str, ...]]]] = []
    for component in UNITS:
        hosts: dict[Version, tuple[str, ...]] = {}
        of = running.kubelets if component == "kubelet" else running.of(component)
        for name, version in sorted(of.items(), key=lambda item: (item[1], item[0])):
            hosts[version] = (*hosts.get(version, ()), name)
        rows.append((component, hosts))
    return rows


def left(running: Running, move: Move) -> list[str]:
    """By component: where the move still has to go."""
    found = []
    for component, versions in table(running):
        target = move.version_of(component)
        if hosts := [name for version, names in versions.items() if version != target for name in names]:
            found.append(f"{component} {target}: still to do on {', '.join(hosts)}")
    return found
