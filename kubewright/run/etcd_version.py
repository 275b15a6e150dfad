"""etcd's cluster version before its members get other binaries: a downgrade is enabled, or one that was begun is cancelled.

etcd goes back one minor release at a time. `downgrade enable` sets the cluster version, and each member then rewrites its data
in the older format; only after that may a binary be replaced [etcd.io/docs/v3.7/downgrades/downgrade_3_7]. Once all members run
the older release, etcd ends the downgrade itself. Until then it keeps the cluster version down, so an upgrade cancels it.
"""

from __future__ import annotations

import contextlib
import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import gevent

from kubewright.errors import Failed
from kubewright.model.cluster import ETCD_CLIENT_PORT, Node, Plan
from kubewright.observe.observed import UnitState
from kubewright.plan.move import ETCD, UNITS, Move
from kubewright.releases.version import Version

if TYPE_CHECKING:
    from kubewright.run.run import Run

PATIENCE = 90
"""Seconds in which the members must have rewritten their data; etcd looks every few seconds."""
PAUSE = 2.0
"""Seconds between two looks."""
_PKI = "/etc/etcd/pki"
_ETCDCTL = f"/usr/local/bin/etcdctl --cacert={_PKI}/ca.crt --cert={_PKI}/root.crt --key={_PKI}/root.key --command-timeout=10s"
_HERE = f"{_ETCDCTL} --endpoints=https://127.0.0.1:{ETCD_CLIENT_PORT}"


@dataclass(frozen=True, kw_only=True)
class Status:
    """What one member says about itself. `storage`: the format of its data, None where it does not say."""

    version: Version
    storage: Version | None
    downgrades_to: Version | None
    """The target of the downgrade that is enabled; None when none is."""


def status_script(plan: Plan) -> str:
    """Shell for an etcd host that prints what every member says, as `statuses` reads it. It fails when one does not answer."""
    return f"{_ETCDCTL} --endpoints={','.join(plan.etcd_endpoints)} endpoint status -w json 2>/dev/null"


def statuses(said: str) -> tuple[Status, ...]:
    """Of each member that answered."""
    try:
        return tuple(_status(row["Status"]) for row in json.loads(said or "[]"))
    except (ValueError, TypeError, KeyError) as error:
        raise Failed(f"etcd's status could not be read ({error}); see kubewright verify") from error


def _status(found: dict[str, Any]) -> Status:
    downgrade = found.get("downgradeInfo") or {}
    return Status(
        version=Version.parse(found["version"]),
        storage=Version.parse(found["storageVersion"]) if found.get("storageVersion") else None,
        downgrades_to=Version.parse(downgrade["targetVersion"]) if downgrade.get("enabled") else None,
    )


def action(members: tuple[Status, ...], target: Version) -> str:
    """What is to be done before a member gets `target`: `enable`, `cancel`, or nothing.

    While not all members of an upgrade have the later release, their data has the earlier format, and nothing is to be enabled:
    etcd would refuse it.
    """
    enabled = {m.downgrades_to.line for m in members if m.downgrades_to is not None}
    if any(m.storage is not None and _minor(m.storage) > _minor(target) for m in members):
        return "" if enabled == {target.line} else "enable"
    # A downgrade that all members have made is ended by etcd itself.
    return "cancel" if enabled - {target.line} else ""


def rewritten(members: tuple[Status, ...], target: Version) -> bool:
    """Whether the data of every member has at most the format of `target`."""
    return bool(members) and all(m.storage is None or _minor(m.storage) <= _minor(target) for m in members)


def _minor(version: Version) -> tuple[int, int]:
    return version.major, version.minor


def prepare(run: Run, move: Move) -> None:
    """Before the first member gets the binary of `move`. Failed when etcd refuses; then no member was touched."""
    target = move.version_of(ETCD)
    found = _ask(run)
    if not found:
        return
    _refuse_unseen(run, found, target)
    match action(found, target):
        case "enable":
            run.say(f"etcd's data is rewritten for {target.line} (etcdctl downgrade enable)")
            _do(run, f"{_HERE} downgrade validate {target.line} && {_HERE} downgrade enable {target.line}", target)
        case "cancel":
            run.say("the downgrade of etcd that an interrupted rollback began is cancelled (etcdctl downgrade cancel)")
            _do(run, f"{_HERE} downgrade cancel", target)
    if not rewritten(found, target):
        _wait(run, target)


def _refuse_unseen(run: Run, found: tuple[Status, ...], target: Version) -> None:
    """Failed when data is to be rewritten, or was, and a member does not say that it has done so: the older etcd would end at
    once with its data. A member that an interrupted run stopped was rewritten before."""
    lowered = any(
        (m.storage is not None and _minor(m.storage) > _minor(target))
        or (m.downgrades_to is not None and m.downgrades_to.line == target.line)
        for m in found
    )
    members = _members(run)
    stopped = [node for node in members if UNITS[ETCD] not in run.observed[node.name].started_with]
    if lowered and len(found) + len(stopped) < len(members):
        raise Failed(
            f"{len(found)} of {len(members)} etcd members answer, and each must rewrite its data for {target.line}, so none was "
            "changed; repair the others (kubewright verify, journalctl -u etcd), then run the same command again"
        )


def _wait(run: Run, target: Version) -> None:
    deadline = time.monotonic() + PATIENCE
    while not rewritten(_ask(run), target):
        if time.monotonic() >= deadline:
            raise Failed(
                f"etcd has not rewritten its data for {target.line} within {PATIENCE} s, so no member was changed; "
                "it waits for a snapshot of its log: run the same command again in some minutes; see journalctl -u etcd"
            )
        gevent.sleep(PAUSE)


def _members(run: Run) -> list[Node]:
    return [node for node in run.plan.etcd_members if node.name in run.observed]


def _ask(run: Run) -> tuple[Status, ...]:
    """Of all members, or of those that answer: the gates decide about the others.

    None where an interrupted run has left a member stopped and the others without a quorum. Then its start comes first, and no
    binary changes its format by that: an etcd does not start with data of a later release.
    """
    for node in _members(run):
        said = ""
        with contextlib.suppress(Failed):
            said = run.hosts[node.name].shell(f"{{ {status_script(run.plan)}; }} || :")
        if found := statuses(said):
            return found
    if any(run.observed[node.name].units.get(UNITS[ETCD], UnitState()).active != "active" for node in _members(run)):
        return ()
    raise Failed("no etcd member says its version, so none was changed; see kubewright verify, then run the same command again")


def _do(run: Run, script: str, target: Version) -> None:
    said = ""
    for node in _members(run):
        with contextlib.suppress(Failed):
            said = run.hosts[node.name].shell(f"{{ {script}; }} 2>&1 && echo done || :")
            if said.endswith("done\n"):
                return
    why = "; ".join(line for line in said.splitlines() if line.strip())[-300:] or "no member answers"
    raise Failed(
        f"etcd does not go to {target.line}, and no member was changed: {why}; "
        "see etcd's alarms and health with kubewright verify, then run the same command again"
    )
