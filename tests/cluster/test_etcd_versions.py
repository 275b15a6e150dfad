"""A real etcd goes from 3.6 to 3.7 and back, with authentication, under writes. No lab: three members on loopback.

About 40 seconds, and two to five minutes more where etcd 3.6 is not built yet: `make soak` runs it.
"""

from __future__ import annotations

import datetime as dt
import functools
import subprocess
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from kubewright.artifacts import Cache, SourceConfig, Wanted
from kubewright.artifacts.gomod import machine_arch
from kubewright.artifacts.sources import obtain
from kubewright.model.build import make_plan
from kubewright.model.cluster import ETCD_CLIENT_PORT, Plan
from kubewright.model.etcd_rights import USERS, role_of
from kubewright.observe.observed import UnitState
from kubewright.plan.move import Move
from kubewright.releases import release_for
from kubewright.run import etcd_version
from kubewright.run.run import Run
from pki.store import Store
from roles.etcd.flags import bootstrap, flags
from tests.cluster.waiting import until
from tests.support.scenarios import filled_store, spec_of

pytestmark = [pytest.mark.cluster, pytest.mark.soak]

NAMES = ("m1", "m2", "m3")
SPEC = "name: versions\nhosts:\n" + "".join(
    f"  - {{name: {name}, address: 127.9.1.{10 + number}, roles: [master]}}\n" for number, name in enumerate(NAMES, 1)
)
UP = Move(verb="upgrade", target=release_for("1.37.1"))
BACK = Move(verb="rollback", target=release_for("1.36.3"))


def _programs(version: str) -> Mapping[str, Path]:
    names = ("etcd", "etcdctl")
    wanted = [Wanted(component="etcd", name=name, version=version, arch=machine_arch()) for name in names]
    return {found.name: found.path for found in obtain(wanted, SourceConfig(kind="gomod"), Cache.default(), print)}


@dataclass(kw_only=True)
class Etcd:
    """The members, each of the version that it was last started with."""

    plan: Plan
    store: Store
    folder: Path
    programs: Mapping[str, Mapping[str, Path]]
    """By version."""
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    runs: dict[str, str] = field(default_factory=dict)
    said: list[str] = field(default_factory=list)

    def certificates(self) -> None:
        for name in NAMES:
            pki = self.folder / name / "pki"
            pki.mkdir(parents=True)
            (pki / "ca.crt").write_bytes(self.store.certificate("ca/etcd"))
            for row in ("server", "peer", "root"):
                (pki / f"{row}.crt").write_bytes(self.store.certificate(f"etcd-{row}/{name}"))
                (pki / f"{row}.key").write_bytes(self.store.key(f"etcd-{row}/{name}"))

    def here(self, name: str, script: str) -> str:
        """The script as the host of that member would run it."""
        ours = {
            "/usr/local/bin/etcdctl": str(self.programs[self.runs[name]]["etcdctl"]),
            "/etc/etcd/pki": str(self.folder / name / "pki"),
            f"https://127.0.0.1:{ETCD_CLIENT_PORT}": f"https://{self.plan.node(name).address}:{ETCD_CLIENT_PORT}",
        }
        for there, mine in ours.items():
            script = script.replace(there, mine)
        return script

    def shell(self, name: str, script: str) -> str:
        done = subprocess.run(["sh", "-c", self.here(name, script)], capture_output=True, text=True, check=False, timeout=60)
        return done.stdout if done.returncode == 0 else ""

    def ctl(self, name: str, words: str) -> str:
        return self.shell(name, f"{etcd_version._HERE} {words} 2>/dev/null")

    def start(self, name: str, version: str) -> None:
        node = self.plan.node(name)
        wanted = dict(flags(self.plan, node)) | {"data-dir": str(self.folder / name / "data"), "log-level": "warn"}
        wanted["listen-client-urls"] = f"https://{node.address}:{ETCD_CLIENT_PORT}"
        words = [f"--{flag}={self.here_pki(name, str(value))}" for flag, value in wanted.items()]
        log = (self.folder / name / "log").open("ab")
        self.runs[name] = version
        self.processes[name] = subprocess.Popen(
            ["nice", "-n", "19", str(self.programs[version]["etcd"]), *words], env=bootstrap(self.plan, node), stdout=log,
            stderr=log, cwd=self.folder,
        )  # fmt: skip

    def here_pki(self, name: str, value: str) -> str:
        return value.replace("/etc/etcd/pki", str(self.folder / name / "pki"))

    def stop(self, name: str) -> None:
        process = self.processes.pop(name)
        process.terminate()
        process.wait(60)

    def serves(self, name: str) -> bool:
        assert self.processes[name].poll() is None, (self.folder / name / "log").read_text(errors="replace")[-2000:]
        return bool(self.ctl(name, "endpoint health"))

    def change(self, name: str, version: str) -> None:
        """The member gets another binary, as a wave does it."""
        self.stop(name)
        self.start(name, version)
        until(f"{name} serves with {version}", lambda: self.serves(name), 60)

    def status(self) -> dict[str, etcd_version.Status]:
        return {name: etcd_version.statuses(self.ctl(name, "endpoint status -w json"))[0] for name in NAMES}

    def lines(self) -> set[tuple[str, str]]:
        """Each member's own release and the format of its data."""
        return {(s.version.line, s.storage.line if s.storage else "") for s in self.status().values()}

    def run(self) -> Run:
        """What `etcd_version` needs of a run."""
        hosts = {name: SimpleNamespace(**{"shell": functools.partial(self.shell, name)}) for name in NAMES}
        seen = {name: SimpleNamespace(units={"etcd.service": UnitState(active="active")}) for name in NAMES}
        return cast("Run", SimpleNamespace(plan=self.plan, hosts=hosts, observed=seen, say=self.said.append))


class Writes(threading.Thread):
    """Writes a number through any member that answers, again and again. `kept`: those that were acknowledged."""

    def __init__(self, etcd: Etcd) -> None:
        super().__init__(daemon=True)
        self.etcd, self.kept, self.over = etcd, 0, threading.Event()

    def run(self) -> None:
        number = 0
        while not self.over.wait(0.1):
            number += 1
            if any(self.etcd.ctl(name, f"put /numbers/{number} {number}") for name in NAMES if name in self.etcd.processes):
                self.kept += 1

    def end(self) -> None:
        self.over.set()
        self.join(60)


@pytest.fixture
def etcd(tmp_path: Path) -> Iterator[Etcd]:
    """Three members of etcd 3.6 with authentication on."""
    plan = make_plan(spec_of(SPEC, tmp_path))
    versions = {move.target.etcd: _programs(move.target.etcd) for move in (BACK, UP)}
    store = filled_store(plan, tmp_path / "inventory", dt.datetime.now(dt.UTC))
    found = Etcd(plan=plan, store=store, folder=tmp_path, programs=versions)
    found.certificates()
    try:
        for name in NAMES:
            found.start(name, BACK.target.etcd)
        for name in NAMES:
            until(f"{name} serves", lambda name=name: found.serves(name), 60)  # type: ignore[misc]
        for user in USERS:
            assert found.ctl("m1", f"user add {user} --no-password")
        for role in sorted({"root", *map(role_of, USERS)}):
            assert found.ctl("m1", f"role add {role}")
        for user in USERS:
            assert found.ctl("m1", f"user grant-role {user} {role_of(user)}")
        assert found.ctl("m1", "auth enable")
        yield found
    finally:
        for name in list(found.processes):
            found.stop(name)


def test_etcd_goes_up_and_back_and_up_again_and_loses_nothing(etcd: Etcd) -> None:
    old, new = BACK.target.etcd, UP.target.etcd
    writes = Writes(etcd)
    writes.start()
    until("etcd agrees on its version", lambda: etcd.lines() == {("3.6", "3.6")}, 30)

    # Back from the middle of an upgrade: nothing is to be enabled, and etcd would refuse it.
    etcd_version.prepare(etcd.run(), UP)
    etcd.change("m1", new)
    etcd_version.prepare(etcd.run(), BACK)
    etcd.change("m1", old)
    assert etcd.said == [] and etcd.lines() == {("3.6", "3.6")}

    # To the end, and back from it.
    for name in NAMES:
        etcd.change(name, new)
    until("the cluster version is 3.7", lambda: etcd.lines() == {("3.7", "3.7")}, 60)
    etcd_version.prepare(etcd.run(), BACK)
    assert etcd.lines() == {("3.7", "3.6")}
    etcd.change("m1", old)

    # Somebody wants the upgrade after all.
    etcd_version.prepare(etcd.run(), UP)
    etcd.change("m1", new)
    until("the cluster version is 3.7 again", lambda: etcd.lines() == {("3.7", "3.7")}, 60)

    etcd_version.prepare(etcd.run(), BACK)
    for name in NAMES:
        etcd_version.prepare(etcd.run(), BACK)  # as after a kill between two members
        etcd.change(name, old)
    until("the downgrade has ended", lambda: all(s.downgrades_to is None for s in etcd.status().values()), 60)
    assert etcd.lines() == {("3.6", "3.6")}
    writes.end()
    found = etcd.ctl("m2", "get --prefix /numbers/ --keys-only").count("/numbers/")
    print(f"{writes.kept} writes were acknowledged, {found} numbers are there; {etcd.said}")
    assert found >= writes.kept > 20
    assert [line.partition(" (")[2] for line in etcd.said] == [
        "etcdctl downgrade enable)", "etcdctl downgrade cancel)", "etcdctl downgrade enable)"
    ]  # fmt: skip


def test_without_the_downgrade_the_older_etcd_refuses_the_data(etcd: Etcd) -> None:
    """Why the order matters: this is what a rollback that only changed binaries would meet."""
    for name in NAMES:
        etcd.change(name, UP.target.etcd)
    until("the cluster version is 3.7", lambda: etcd.lines() == {("3.7", "3.7")}, 60)
    etcd.stop("m1")
    etcd.start("m1", BACK.target.etcd)
    until("it ends", lambda: etcd.processes["m1"].poll() is not None, 60)
    assert etcd.processes["m1"].returncode != 0
    etcd.processes.pop("m1")
    etcd.start("m1", UP.target.etcd)
    until("m1 serves again", lambda: etcd.serves("m1"), 60)
