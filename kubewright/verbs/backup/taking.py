"""A snapshot of etcd from a healthy member, checked on that member's host before it is sent here."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from pathlib import Path

from kubewright.backup import archive
from kubewright.backup.manifest import Taken, counted
from kubewright.errors import Failed
from kubewright.model.cluster import ETCD_CLIENT_PORT
from kubewright.model.places import STATE
from kubewright.plan.context import render
from kubewright.run.session import Session

WORK = f"{STATE}/backup"
"""On the host, while a backup is taken."""
_PKI = "/etc/etcd/pki"
ETCDCTL = (
    f"/usr/local/bin/etcdctl --endpoints=https://127.0.0.1:{ETCD_CLIENT_PORT} --cacert={_PKI}/ca.crt "
    f"--cert={_PKI}/root.crt --key={_PKI}/root.key"
)
ETCDUTL = "/usr/local/bin/etcdutl"


def script(work: str = WORK, etcdctl: str = ETCDCTL, etcdutl: str = ETCDUTL) -> str:
    """Shell, run as root on an etcd host. It prints what `taken` reads."""
    return render("backup/take.sh.j2", work=work, etcdctl=etcdctl, etcdutl=etcdutl).decode()


def taken(member: str, said: str) -> Taken:
    """The output of `script`. Failed when the restored copy is not the snapshot, or the output is another."""
    head, _, counts = said.partition("\ncounts\n")
    lines = dict(line.split(" ", 1) for line in head.splitlines() if " " in line)
    try:
        status, restored = json.loads(lines["status"]), json.loads(lines["restored"])
        sha256, size = lines["sum"].split()
        found = Taken(
            member=member,
            sha256=sha256,
            size=int(size),
            version=status["version"],
            revision=status["revision"],
            keys=status["totalKey"],
            counts=counted(counts),
        )
    except (KeyError, ValueError, TypeError) as error:
        raise Failed(f"{member}: its answer can't be read ({said[-200:]!r}); run the same command again") from error
    if (restored["revision"], restored["totalKey"]) != (found.revision, found.keys):
        raise Failed(
            f"{member}: its snapshot is not whole: restored, it has {restored['totalKey']} keys at revision "
            f"{restored['revision']}, not {found.keys} at {found.revision}; see etcd's alarms: kubewright verify"
        )
    return found


def take(session: Session, target: Path) -> Taken:
    """The snapshot at `target`, from the first member that can give one. Failed with every member's reason."""
    reasons = []
    for name in members(session):
        try:
            return _from(session, name, target)
        except Failed as error:
            reasons.append(str(error) if str(error).startswith(f"{name}: ") else f"{name}: {error}")
    raise _none(session, reasons)


def require(session: Session) -> None:
    """Failed where no host has etcd's data, or none of those that have answers."""
    if not members(session):
        raise _none(session, ["no host that answers has etcd's data"])


def _none(session: Session, reasons: list[str]) -> Failed:
    lines = [*map(str, session.unreachable), *reasons, "repair etcd first: docs/runbooks/etcd.md"]
    return Failed("\n".join(["no etcd member gives a snapshot, so no backup was made:", *lines]))


def members(session: Session) -> list[str]:
    """The hosts with etcd's data; those that etcd answered through come first."""
    have = [name for name, host in session.observed.items() if host.etcd_data and "etcd.service" in host.started_with]
    return sorted(have, key=lambda name: session.observed[name].etcd is None)


def _from(session: Session, name: str, target: Path) -> Taken:
    remote = session.remotes[name]
    answer = remote.run(script(), timeout=900)
    if answer.status != 0:
        raise Failed(re.sub(r"\s+", " ", answer.stderr.strip()) or f"exit status {answer.status}")
    found = taken(name, answer.stdout)
    if why := remote.download(f"cat {WORK}/etcd.db && rm -rf {WORK}", target):
        with suppress(Failed):  # the first reason counts; the next backup removes it too
            remote.run(f"rm -rf {WORK}")
        raise Failed(why)
    if archive.kept(target).sha256 != found.sha256:
        raise Failed("the snapshot changed on its way here; run the same command again")
    session.say(f"snapshot of etcd from {name}: {found.keys} keys at revision {found.revision}, {found.size / 1e6:.1f} MB")
    return found
