"""What a live cluster allows: the distances between versions, from what runs on every host and node. Pure.

Sources: kubernetes.io/releases/version-skew-policy; etcd.io/docs/v3.7/upgrades/upgrade_3_7 and downgrades/downgrade_3_7.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from kubewright.errors import Problem
from kubewright.plan.move import ETCD, Move, Running
from kubewright.releases import SUPPORTED, Release
from kubewright.releases.version import Version

OLDEST_KUBELET = 3
"""Minor releases that a kubelet may be behind its apiservers."""
FIRST_TO_3_7 = Version(3, 6, 11)
"""The oldest etcd that goes to 3.7."""
_API = "kube-apiserver"
_CONTROLLERS = ("kube-controller-manager", "kube-scheduler")
_SNAPSHOT = "only the snapshot leads back, as docs/runbooks/rollback.md says"


def findings(running: Running, move: Move) -> list[Problem]:
    """Everything that the versions forbid."""
    own = _upgrade if move.verb == "upgrade" else _rollback
    return [*own(running, move), *_kubelets(running, move)]


def _grouped(found: Mapping[str, Version]) -> list[tuple[Version, str]]:
    """Each version with its hosts, the oldest first."""
    hosts: dict[Version, list[str]] = {}
    for name, version in found.items():
        hosts.setdefault(version, []).append(name)
    return [(version, ", ".join(sorted(names))) for version, names in sorted(hosts.items())]


def _upgrade(running: Running, move: Move) -> Iterator[Problem]:
    target = move.version_of(_API)
    for component in (_API, *_CONTROLLERS):
        for version, hosts in _grouped(running.of(component)):
            if version > target:
                yield Problem(
                    where=hosts,
                    what=f"{component} runs {version}, which is later than {target}",
                    allowed=f"{version}, or a later release",
                    todo="to take an upgrade back: kubewright rollback -i INVENTORY",
                )
            elif version.major != target.major or target.minor - version.minor > 1:
                yield Problem(
                    where=hosts,
                    what=f"{component} runs {version}, and {target} skips a minor release",
                    allowed=f"one minor release at a time: {_next(version)}",
                    todo=f"kubewright upgrade --to {_next(version)} -i INVENTORY first",
                )
    yield from _newer_controllers(running)
    for version, hosts in _grouped(running.of(ETCD)):
        yield from _etcd_up(version, hosts, move)


def _newer_controllers(running: Running) -> Iterator[Problem]:
    oldest = min(running.of(_API).values(), default=None)
    for component in _CONTROLLERS:
        for version, hosts in _grouped(running.of(component)):
            if oldest is not None and _minor(version) > _minor(oldest):
                yield Problem(
                    where=hosts,
                    what=f"{component} runs {version}, which is newer than an apiserver ({oldest})",
                    allowed=f"{oldest.line} or earlier, until every apiserver is newer",
                    todo="end the upgrade of the apiservers that somebody has begun by hand, or take it back",
                )


def _etcd_up(version: Version, hosts: str, move: Move) -> Iterator[Problem]:
    target = move.version_of(ETCD)
    if _minor(version) > _minor(target):
        yield Problem(
            where=hosts,
            what=f"etcd runs {version}, and {move.target.kubernetes} comes with {target}",
            allowed="an etcd of the same minor release, or a later one",
            todo="to take an upgrade back: kubewright rollback -i INVENTORY",
        )
    elif version.major != target.major or target.minor - version.minor > 1:
        yield Problem(
            where=hosts,
            what=f"etcd runs {version}, and {target} skips a minor release",
            allowed="one minor release of etcd at a time",
            todo="go through the releases of Kubernetes one minor release at a time",
        )
    elif version.line == "3.6" and target.line == "3.7" and version < FIRST_TO_3_7:
        yield Problem(
            where=hosts,
            what=f"etcd runs {version}, which can't be upgraded to {target}",
            allowed=f"{FIRST_TO_3_7} or later",
            todo=f"first to the etcd that this kubewright has for the release that runs: {_patch(version)}",
        )


def _patch(version: Version) -> str:
    found = [release for release in SUPPORTED if Version.parse(release.etcd).line == version.line]
    release = found[-1] if found else SUPPORTED[0]
    return f"kubewright upgrade --to {release.kubernetes} -i INVENTORY (etcd {release.etcd})"


def _rollback(running: Running, move: Move) -> Iterator[Problem]:
    for component in (*(name for name in running.components if name not in (ETCD, "kubelet")), ETCD):
        target = move.version_of(component)
        for version, hosts in _grouped(running.of(component)):
            if version.major != target.major or version.minor - target.minor > 1:
                yield Problem(
                    where=hosts,
                    what=f"{component} runs {version}, more than one minor release after {target}",
                    allowed="one minor release back at a time",
                    todo=_SNAPSHOT,
                )


def _kubelets(running: Running, move: Move) -> Iterator[Problem]:
    """A kubelet is never newer than an apiserver, and not too old."""
    target = move.version_of("kubelet")
    oldest = min(running.of(_API).values(), default=None)
    # Those on hosts of this plan go back before the apiservers do; others stay.
    stay = {name: version for name, version in running.nodes.items() if name not in running.of("kubelet")}
    back = move.verb == "rollback"
    found: Mapping[str, Version] = stay if back else running.kubelets
    least = target if back else oldest or target
    for version, hosts in _grouped(found):
        if _minor(version) > _minor(least):
            yield Problem(
                where=hosts,
                what=f"kubelet runs {version}, which is newer than an apiserver ({least})",
                allowed=f"{least.line}, or at most {OLDEST_KUBELET} minor releases earlier",
                todo="change these nodes back first, or remove them: docs/runbooks/changes.md",
            )
    for version, hosts in _grouped(found):
        if target.minor - version.minor > OLDEST_KUBELET:
            yield Problem(
                where=hosts,
                what=f"kubelet runs {version}, more than {OLDEST_KUBELET} minor releases before {target}",
                allowed=f"{target.major}.{target.minor - OLDEST_KUBELET} or later",
                todo="bring these nodes to a later release first, or remove them: docs/runbooks/changes.md",
            )


def _minor(version: Version) -> tuple[int, int]:
    return version.major, version.minor


def _next(version: Version) -> str:
    """The latest supported release of the next minor."""
    found = [release for release in SUPPORTED if _minor(release.version) == (version.major, version.minor + 1)]
    return found[-1].kubernetes if found else f"a release of {version.major}.{version.minor + 1}"


def only_snapshot(running: Running, move: Move) -> str:
    """Why no rollback would lead back from `move`; empty when one would."""
    for component in (_API, ETCD):
        target = move.version_of(component)
        oldest = min(running.of(component).values(), default=target)
        if target.major != oldest.major or target.minor - oldest.minor > 1:
            return f"{component} goes from {oldest} to {target}"
    return ""


def crosses_etcd(running: Running, move: Move) -> bool:
    """Whether etcd's minor release changes on a member."""
    return any(_minor(version) != _minor(move.version_of(ETCD)) for version in running.of(ETCD).values())


def before(
    running: Running, kept: Mapping[str, frozenset[str]], named: Version, sent: frozenset[Version] = frozenset()
) -> Release | None:
    """The release that a rollback goes to; None when nothing on the hosts says which.

    In the middle of a move it is the earlier one that runs. Otherwise it is the one whose folders the masters still have:
    `kept` has, by master, the versions of kube-apiserver that its record calls those before. A later release that
    cluster.yaml names, or that was `sent` and does not run, shows a move that has not ended: what runs is where it goes
    back to, and no further.
    """
    versions = sorted({version for name, found in running.components.items() if name != ETCD for version in found.values()})
    if not versions:
        return None
    if len(versions) > 1:
        return _release(min(versions))
    now = _release(versions[0])
    if now is not None and any(_minor(v) > _minor(Version.parse(now.etcd)) for v in running.of(ETCD).values()):
        return now  # only etcd had been moved
    if max(named, *sent, versions[0]) > versions[0]:
        return now
    # A master that joined after the upgrade has no release before.
    known = [found for found in kept.values() if found]
    common = frozenset.intersection(*known) if known else frozenset()
    earlier = [Version.parse(version) for version in common if Version.parse(version) <= versions[0]]
    return _release(max(earlier)) if earlier else None


def _release(version: Version) -> Release | None:
    return next((release for release in SUPPORTED if release.version == version), None)
