"""Members of a real etcd join and leave with the scripts of the roles `members` and `votes`. No lab: etcd runs on loopback.

One cluster with authentication goes from one member to three, loses one, replaces it, and returns to one. About a minute.
"""

from __future__ import annotations

import datetime as dt
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from kubewright.artifacts import SourceConfig, obtain_all
from kubewright.artifacts.gomod import machine_arch
from kubewright.model.build import make_plan
from kubewright.model.certificates import ROWS
from kubewright.model.cluster import ETCD_CLIENT_PORT, Gone, Plan
from kubewright.releases import DEFAULT
from pki import trust
from pki.store import Store
from roles.etcd.flags import bootstrap, flags
from roles.etcd.role import healthy
from roles.etcd_users.role import ROLE as ETCD_USERS
from roles.members.role import adding, removing
from roles.votes.role import promoting
from tests.cluster.waiting import until
from tests.support.scenarios import filled_store, scenario, spec_of

pytestmark = pytest.mark.cluster

NAMES = ("m1", "m2", "m3", "m4", "m5")
SPEC = "name: members\nhosts:\n" + "".join(
    f"  - {{name: {name}, address: 127.9.0.{10 + number}, roles: [master]}}\n" for number, name in enumerate(NAMES, 1)
)
OWN = f"https://127.0.0.1:{ETCD_CLIENT_PORT}"


@dataclass(kw_only=True)
class Etcd:
    """The members that run, by name, each in a folder of its own."""

    plan: Plan
    store: Store
    folder: Path
    programs: Path
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def url(self, name: str, port: int = ETCD_CLIENT_PORT) -> str:
        return f"https://{self.plan.node(name).address}:{port}"

    def pki(self, name: str) -> Path:
        folder = self.folder / name / "pki"
        if not folder.exists():
            folder.mkdir(parents=True)
            (folder / "ca.crt").write_bytes(trust.bundle(self.store.entries, "ca/etcd"))
            for row in (row for row in ROWS.values() if row.path.startswith("/etc/etcd/pki/")):
                stem = row.path.rpartition("/")[2]
                stored = row.stored(self.plan.node(name))
                (folder / f"{stem}.crt").write_bytes(self.store.certificate(stored))
                (folder / f"{stem}.key").write_bytes(self.store.key(stored))
        return folder

    def start(self, name: str, *members: str) -> None:
        """As its unit does: a new cluster of `members`, or with its data or with others it joins."""
        node, pki = self.plan.node(name), self.pki(name)
        given = {**flags(self.plan, node), "data-dir": str(self.folder / name / "data"), "listen-client-urls": self.url(name)}
        arguments = [f"--{flag}={str(value).replace('/etc/etcd/pki', str(pki))}" for flag, value in given.items()]
        settings = bootstrap(self.plan, node)
        settings["ETCD_INITIAL_CLUSTER"] = ",".join(f"{each}={self.url(each, 2380)}" for each in members)
        settings["ETCD_INITIAL_CLUSTER_STATE"] = "new" if members == (name,) else "existing"
        log = (self.folder / name / "log").open("ab")
        process = subprocess.Popen([str(self.programs / "etcd"), *arguments], env=settings, stdout=log, stderr=log)
        self.processes[name] = process

    def stop(self, name: str) -> None:
        process = self.processes.pop(name)
        process.kill()
        process.wait()

    def script(self, name: str, text: bytes, *, check: bool = True) -> subprocess.CompletedProcess[str]:
        """A role's script, as the host of `name` would run it."""
        local = text.decode().replace("/etc/etcd/pki", str(self.pki(name))).replace(OWN, self.url(name))
        done = subprocess.run(
            ["sh", "-eu"], input=local, capture_output=True, text=True, timeout=180, check=False,
            env={"PATH": f"{self.programs}:{os.environ['PATH']}"},
        )  # fmt: skip
        assert not check or done.returncode == 0, f"{done.stdout}{done.stderr}"
        return done

    def ctl(self, name: str, *words: str) -> str:
        pki = self.pki(name)
        done = subprocess.run(
            [str(self.programs / "etcdctl"), f"--endpoints={self.url(name)}", f"--cacert={pki}/ca.crt", f"--cert={pki}/root.crt",
             f"--key={pki}/root.key", *words], capture_output=True, text=True, timeout=30, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    def members(self, name: str) -> dict[str, str]:
        """`voter` or `learner`, by the name of each member."""
        rows = [line.split(", ") for line in self.ctl(name, "member", "list").splitlines()]
        return {row[2]: "learner" if row[5] == "true" else "voter" for row in rows}

    def leader(self, name: str) -> str:
        for each in self.members(name):
            lines = self.ctl(each, "endpoint", "status", "-w", "fields").replace('"', "").splitlines()
            status = dict(line.split(" : ") for line in lines if " : " in line)
            if status["MemberID"] == status["Leader"]:
                return each
        raise AssertionError("no member leads")

    def join(self, acting: str, name: str, *members: str) -> None:
        self.script(acting, adding(name, self.url(name, 2380)))
        self.start(name, *members, name)
        self.script(acting, promoting(name, self.url(name, 2380)))

    def gone(self, name: str) -> Gone:
        return Gone(name=name, address=str(self.plan.node(name).address))


@pytest.fixture(scope="module")
def etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Etcd]:
    folder = tmp_path_factory.mktemp("members")
    plan = make_plan(spec_of(SPEC))
    programs = folder / "bin"
    programs.mkdir()
    bundle = obtain_all(DEFAULT, machine_arch(), SourceConfig(kind="auto"), print, None, test_images=False)
    for program in ("etcd", "etcdctl"):
        shutil.copy(bundle.binary(program).path, programs / program)
        (programs / program).chmod(0o755)
    found = Etcd(plan=plan, store=filled_store(plan, folder, dt.datetime.now(dt.UTC)), folder=folder, programs=programs)
    try:
        found.start("m1", "m1")
        until("the first member answers", lambda: "m1" in found.members("m1"), 60)
        (task,) = ETCD_USERS.desired(scenario("lab").context("m1")).tasks
        found.script("m1", task.content)
        found.ctl("m1", "put", "/registry/kept", "value")
        yield found
    finally:
        for name in list(found.processes):
            found.stop(name)


def _whole(etcd: Etcd, *names: str) -> None:
    """They are the members, each votes and has the data, and authentication is on."""
    for name in names:
        assert etcd.members(name) == dict.fromkeys(names, "voter")
        assert etcd.ctl(name, "get", "--print-value-only", "/registry/kept") == "value\n"
        assert "Status: true" in etcd.ctl(name, "auth", "status")


def test_a_member_learns_and_then_votes_and_the_scripts_can_be_repeated(etcd: Etcd) -> None:
    add, promote = adding("m2", etcd.url("m2", 2380)), promoting("m2", etcd.url("m2", 2380), tries=1)
    etcd.script("m1", add)
    etcd.script("m1", add)
    assert etcd.members("m1") == {"m1": "voter", "": "learner"}
    refused = etcd.script("m1", promote, check=False)
    assert refused.returncode == 1 and "m2 does not get etcd's data" in refused.stderr
    etcd.start("m2", "m1", "m2")
    address = etcd.plan.node("m2").address
    ready = healthy(address, learns=True).encode()
    until("the learner is ready", lambda: etcd.script("m2", ready, check=False).returncode == 0, 60)
    for _ in range(2):
        etcd.script("m1", promoting("m2", etcd.url("m2", 2380)))
    _whole(etcd, "m1", "m2")


def test_a_follower_s_host_promotes_too(etcd: Etcd) -> None:
    acting = next(name for name in ("m1", "m2") if name != etcd.leader("m1"))
    etcd.join(acting, "m3", "m1", "m2")
    _whole(etcd, "m1", "m2", "m3")


def test_with_a_dead_member_a_healthy_one_can_t_leave(etcd: Etcd) -> None:
    etcd.stop("m3")
    refused = etcd.script("m1", removing((etcd.gone("m2"),)), check=False)
    assert refused.returncode == 1
    assert "etcd would have 1 healthy members of 2" in refused.stderr and etcd.url("m3", 2380) in refused.stderr
    assert set(etcd.members("m1")) == {"m1", "m2", "m3"}


def test_a_dead_member_is_replaced_by_a_new_one(etcd: Etcd) -> None:
    for _ in range(2):
        etcd.script("m1", removing((etcd.gone("m3"),)))
    etcd.join("m1", "m4", "m1", "m2")
    _whole(etcd, "m1", "m2", "m4")


def test_the_leader_leaves_after_it_gave_up_its_leadership(etcd: Etcd) -> None:
    leader = etcd.leader("m1")
    acting, other = (name for name in ("m1", "m2", "m4") if name != leader)
    etcd.join(acting, "m5", "m1", "m2", "m4")
    etcd.script(acting, removing((etcd.gone(leader),)))
    until("it has ended", lambda: etcd.processes[leader].poll() is not None, 30)
    _whole(etcd, acting, other, "m5")


def test_three_members_become_one(etcd: Etcd) -> None:
    names = list(etcd.members("m5"))
    etcd.script("m5", removing(tuple(etcd.gone(name) for name in names if name != "m5")))
    _whole(etcd, "m5")


def test_a_list_that_does_not_come_is_a_failure_and_no_absent_member(etcd: Etcd) -> None:
    etcd.stop("m5")
    for script in (
        removing((etcd.gone("m1"),)),
        adding("m1", etcd.url("m1", 2380)),
        promoting("m1", etcd.url("m1", 2380), tries=1),
    ):
        assert etcd.script("m5", script, check=False).returncode != 0
