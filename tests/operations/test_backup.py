"""The scripts of backup and restore, with real etcd on loopback: authentication on, kills, watches, old members."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import cast

import pytest

from kubewright.backup import archive
from kubewright.backup.age import Passphrase
from kubewright.backup.manifest import Manifest, Taken
from kubewright.errors import Failed
from kubewright.hosts.remote import Answer, Remote
from kubewright.model.cluster import Node
from kubewright.plan.context import render
from kubewright.run.session import Session
from kubewright.verbs.backup import backup as verb
from kubewright.verbs.backup import inventory as inventories
from kubewright.verbs.backup import seeding, taking
from tests.support.fleet import FakeHost
from tests.support.hosts import fresh
from tests.support.loopback_etcd import Members, programs, running
from tests.support.scenarios import spec_of

pytestmark = pytest.mark.skipif(not programs(), reason="etcd is not in the cache: kubewright artifacts fetch")
OBJECTS = ("pods/a/b", "pods/a/c", "pods/k/d", "secrets/a/t", "services/specs/a/b", "apiregistration.k8s.io/apiservices/x")
COUNTS = {"apiregistration.k8s.io/apiservices": 1, "pods": 2, "secrets": 1, "services/specs": 1}


def _shell(script: str, stdin: bytes = b"", **environment: str) -> subprocess.CompletedProcess[bytes]:
    env = {**os.environ, **environment}
    return subprocess.run(["sh", "-c", script], input=stdin, capture_output=True, timeout=120, check=False, env=env)


def _fill(etcd: Members) -> Node:
    first = etcd.plan.etcd_members[0]
    for name in OBJECTS:
        etcd.ctl(first, "put", f"/registry/{name}", "x" * 100)
    etcd.ctl(first, "del", "/registry/pods/a/c")
    etcd.ctl(first, "put", "/coreos.com/network/config", "{}")
    return first


def _take(etcd: Members, node: Node, target: Path) -> Taken:
    work = etcd.folder / "work"
    done = _shell(taking.script(str(work), etcd.etcdctl(node), str(programs()["etcdutl"])))
    assert done.returncode == 0, done.stderr.decode()
    found = taking.taken(node.name, done.stdout.decode())
    (work / "etcd.db").rename(target)
    assert archive.kept(target).sha256 == found.sha256
    return found


def _places(etcd: Members, node: Node) -> seeding.Places:
    home = etcd.folder / node.name
    state = home / "state"
    return seeding.Places(
        data=str(home / "data"),
        state=str(state),
        snapshot=str(state / "restore.db"),
        joins=str(home / "joins"),
        mark=str(state / "mark"),
        restored=str(state / "restored"),
        etcdutl=str(programs()["etcdutl"]),
        owner=f"{os.getuid()}:{os.getgid()}",
    )


def _seed(etcd: Members, node: Node, snapshot: Path, took: Taken, token: str) -> subprocess.CompletedProcess[bytes]:
    places = _places(etcd, node)
    assert _shell(seeding.receive(places), snapshot.read_bytes()).returncode == 0
    return _shell(seeding.seed(dataclasses.replace(etcd.plan, etcd_token=token), node, took, places))


@pytest.fixture
def one(tmp_path: Path) -> Iterator[Members]:
    with running(tmp_path) as etcd:
        yield etcd


def test_a_backup_comes_back_with_its_users_and_a_later_revision(one: Members, tmp_path: Path) -> None:
    node = _fill(one)
    took = _take(one, node, tmp_path / "etcd.db")
    assert took.counts == COUNTS and took.keys >= 6 and took.revision == one.revision(node)
    manifest = Manifest(
        cluster="loop", uid="", etcd_token="loop", taken="", kubewright="", kubernetes="", snapshot=took,
        files={"etcd.db": archive.kept(tmp_path / "etcd.db")},
    )  # fmt: skip
    lock = Passphrase(b"correct horse", work=2)
    archive.write(tmp_path / "a.backup.age", [lock], manifest, {"etcd.db": tmp_path / "etcd.db"})
    archive.extract(tmp_path / "a.backup.age", [lock], tmp_path / "out")
    before, _ = one.members(node)
    one.ctl(node, "put", "/registry/pods/a/later", "x")
    one.stop()
    done = _seed(one, node, tmp_path / "out" / "etcd.db", took, "loop@2")
    assert done.returncode == 0, done.stderr.decode()
    one.start(token="loop@2")
    keys = one.ctl(node, "get", "/registry/", "--prefix", "--keys-only").split()
    assert sorted(keys) == sorted(f"/registry/{name}" for name in OBJECTS if name != "pods/a/c")
    assert '"enabled":true' in one.ctl(node, "auth", "status", "-w", "json")
    assert one.revision(node) >= took.revision + seeding.BUMP
    after, names = one.members(node)
    assert after != before and names == ["m1"]
    assert (one.data(node) / "before-loop@2").is_dir() and not list(one.data(node).glob(".restored*"))
    # Again: it is done, and the new data stays.
    one.ctl(node, "put", "/registry/pods/a/new", "x")
    one.stop()
    assert _seed(one, node, tmp_path / "etcd.db", took, "loop@2").returncode == 0
    one.start()
    assert "/registry/pods/a/new" in one.ctl(node, "get", "/registry/pods/", "--prefix", "--keys-only")
    second = _take(one, node, tmp_path / "second.db")
    assert second.counts == {**COUNTS, "pods": 3}


def test_the_data_is_made_while_etcd_serves_and_changes_places_later(one: Members, tmp_path: Path) -> None:
    node = _fill(one)
    took = _take(one, node, tmp_path / "etcd.db")
    places, plan = _places(one, node), dataclasses.replace(one.plan, etcd_token="loop@2")
    room = seeding.room(plan, took, places)
    assert _shell(room).stdout == b""
    assert Path(places.mark).exists(), "without its data, the member never begins a new cluster"
    assert _shell(seeding.receive(places), (tmp_path / "etcd.db").read_bytes()).returncode == 0
    done = _shell(seeding.seed(plan, node, took, places, prepares=True))
    assert done.returncode == 0, done.stderr.decode()
    assert not Path(places.restored).exists()
    assert _shell(room).stdout == b"ready\n"
    one.ctl(node, "put", "/registry/pods/a/later", "x")
    one.stop()
    assert _shell(seeding.seed(plan, node, took, places)).returncode == 0
    assert _shell(room).stdout == b"ready\n"
    one.start()
    assert "later" not in one.ctl(node, "get", "/registry/", "--prefix", "--keys-only")
    assert not list(Path(places.data).glob(".restored*")) and not Path(places.snapshot).exists()


def test_a_watch_from_before_the_restore_is_told_to_list_again(one: Members, tmp_path: Path) -> None:
    node = _fill(one)
    took = _take(one, node, tmp_path / "etcd.db")
    one.stop()
    assert _seed(one, node, tmp_path / "etcd.db", took, "loop@2").returncode == 0
    one.start()
    for revision in (took.revision, took.revision + 50):
        said = one.ctl(node, "watch", "/registry/", "--prefix", f"--rev={revision}", check=False)
        assert "has been compacted" in said, said


def _killing(folder: Path, number: int) -> str:
    """A PATH on which the command of that number, counted from 1, kills the script before it does anything."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for name in ("cat", "chown", "cut", "df", "mkdir", "mv", "rm", "sha256sum", "stat", "sync", "touch"):
        real = shutil.which(name)
        (folder / name).write_text(
            f"#!/bin/sh\nn=$(($(/bin/cat {folder}/n 2>/dev/null || echo 0) + 1)); echo $n > {folder}/n\n"
            f'[ $n -lt {number} ] || {{ kill -9 $MAIN; exit 1; }}\nexec {real} "$@"\n'
        )
        (folder / name).chmod(0o755)
    return f"{folder}:{os.environ['PATH']}"


def test_a_restore_that_is_killed_before_any_command_is_finished_by_the_next(one: Members, tmp_path: Path) -> None:
    node = _fill(one)
    took = _take(one, node, tmp_path / "etcd.db")
    one.stop()
    places, before = _places(one, node), tmp_path / "data"
    whole = seeding.seed(dataclasses.replace(one.plan, etcd_token="loop@2"), node, took, places)
    shutil.copytree(places.data, before)
    killed = 0
    for number in itertools.count(1):
        for folder in (places.data, places.state):
            shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(before, places.data, copy_function=os.link)  # it is moved only
        assert _shell(seeding.receive(places), (tmp_path / "etcd.db").read_bytes()).returncode == 0
        first = _shell(f"export MAIN=$$\n{whole}", PATH=_killing(tmp_path / "bin", number))
        if first.returncode == 0:
            break
        killed += 1
        assert _shell(seeding.receive(places), (tmp_path / "etcd.db").read_bytes()).returncode == 0
        done = _shell(whole)
        assert done.returncode == 0, f"command {number}: {done.stderr.decode()}"
        assert Path(places.restored).read_text() == f"loop@2 {took.sha256}\n"
        assert sorted(p.name for p in Path(places.data).iterdir()) == ["before-loop@2", "member"], number
        assert [p.name for p in sorted(Path(places.state).iterdir())] == ["mark", "restored"], number
    assert killed > 15
    one.start()
    assert len(one.ctl(node, "get", "/registry/", "--prefix", "--keys-only").split()) == 5


def test_a_member_with_old_data_cannot_join_the_restored_cluster(tmp_path: Path) -> None:
    with running(tmp_path, 3) as etcd:
        first = _fill(etcd)
        nodes = etcd.plan.etcd_members
        took = _take(etcd, first, tmp_path / "etcd.db")
        etcd.ctl(first, "put", "/registry/pods/a/later", "x")
        etcd.stop()
        for node in nodes[:2]:
            assert _seed(etcd, node, tmp_path / "etcd.db", took, "loop@2").returncode == 0
        etcd.start(ready=False)  # m3 has its data from before
        etcd.wait(nodes[0])
        etcd.wait(nodes[1])
        assert "later" not in etcd.ctl(first, "get", "/registry/", "--prefix", "--keys-only")
        cluster, names = etcd.members(first)
        assert names == ["m1", "m2", "m3"]
        assert "failed" in etcd.ctl(nodes[2], "put", "/registry/pods/a/wrong", "x", check=False)
        log = (tmp_path / "m3" / "log").read_text()
        assert re.search(r"cluster.?id.?mismatch|cluster ID mismatch", log, re.IGNORECASE), log[-2000:]
        etcd.stop([nodes[2]])
        assert _seed(etcd, nodes[2], tmp_path / "etcd.db", took, "loop@2").returncode == 0
        etcd.start([nodes[2]])
        assert etcd.members(nodes[2])[0] == cluster


def test_a_snapshot_that_did_not_arrive_whole_is_refused_and_the_old_data_stays(one: Members, tmp_path: Path) -> None:
    node = _fill(one)
    took = _take(one, node, tmp_path / "etcd.db")
    one.stop()
    changed = bytearray((tmp_path / "etcd.db").read_bytes())
    changed[len(changed) // 2] ^= 1
    (tmp_path / "etcd.db").write_bytes(changed)
    done = _seed(one, node, tmp_path / "etcd.db", took, "loop@2")
    assert done.returncode == 1 and b"did not arrive whole" in done.stderr
    one.start()
    assert "/registry/pods/a/b" in one.ctl(node, "get", "/registry/", "--prefix", "--keys-only")


def _df(folder: Path, free: int) -> str:
    """A PATH with a df that tells that many KiB."""
    (folder / "bin").mkdir()
    (folder / "bin" / "df").write_text(f"#!/bin/sh\necho head\necho / 1 1 {free} 1% /\n")
    (folder / "bin" / "df").chmod(0o755)
    return f"{folder / 'bin'}:{os.environ['PATH']}"


def test_without_space_neither_is_begun(one: Members, tmp_path: Path) -> None:
    node = _fill(one)
    took, path = _take(one, node, tmp_path / "etcd.db"), _df(tmp_path, 50 << 10)
    work = tmp_path / "work"
    done = _shell(taking.script(str(work), one.etcdctl(node), str(programs()["etcdutl"])), PATH=path)
    assert done.returncode == 1 and b"too little space" in done.stderr and b"50 MiB free" in done.stderr
    assert not work.exists()
    places, plan = _places(one, node), dataclasses.replace(one.plan, etcd_token="loop@2")
    done = _shell(seeding.room(plan, took, places), PATH=path)
    assert done.returncode == 1 and b"too little space" in done.stderr and b"50 MiB free" in done.stderr
    one.stop()
    _shell(seeding.receive(places), (tmp_path / "etcd.db").read_bytes())
    done = _shell(seeding.seed(dataclasses.replace(one.plan, etcd_token="loop@2"), node, took, places), PATH=path)
    assert done.returncode == 1 and b"too little space" in done.stderr
    assert (one.data(node) / "member").is_dir() and not Path(places.restored).exists()


def test_a_member_that_is_down_gives_no_backup(one: Members, tmp_path: Path) -> None:
    node = _fill(one)
    one.stop()
    done = _shell(taking.script(str(tmp_path / "work"), one.etcdctl(node), str(programs()["etcdutl"])))
    assert done.returncode == 1 and b"its member is not healthy" in done.stderr
    assert not (tmp_path / "work").exists()


def test_a_full_etcd_gives_a_backup_and_a_snapshot(one: Members, tmp_path: Path) -> None:
    node = _fill(one)
    one.stop()
    one.start(quota="1", ready=False)
    deadline = time.monotonic() + 60
    while "NOSPACE" not in one.ctl(node, "alarm", "list", check=False):
        assert time.monotonic() < deadline
        one.ctl(node, "put", "/registry/pods/a/later", "x", check=False)
    assert _take(one, node, tmp_path / "etcd.db").counts == COUNTS
    (tmp_path / "snapshots").mkdir()
    script = render(
        "snapshots/snapshot.sh.j2", folder=tmp_path / "snapshots", keep=2, data=one.data(node) / "member/snap/db",
        etcdctl=one.etcdctl(node), etcdutl=programs()["etcdutl"],
    ).decode()  # fmt: skip
    done = _shell(script)
    assert done.returncode == 0, done.stderr.decode()


def test_an_answer_that_is_not_whole_is_refused() -> None:
    said = 'status {"revision":7,"totalKey":4,"version":"3.7.0"}\nrestored {"revision":7,"totalKey":3}\nsum ab 10\ncounts\n'
    with pytest.raises(Failed, match="its snapshot is not whole: restored, it has 3 keys at revision 7, not 4 at 7"):
        taking.taken("m1", said)
    with pytest.raises(Failed, match="can't be read"):
        taking.taken("m1", "nonsense")


def test_the_timer_s_script_keeps_the_newest_snapshots_and_clears_what_was_killed(one: Members, tmp_path: Path) -> None:
    node, folder = _fill(one), tmp_path / "snapshots"
    folder.mkdir()
    for name in ("etcd-20260101T000000Z.db", "etcd-20260102T000000Z.db", "notes"):
        (folder / name).write_text("old")
    (folder / ".new").mkdir()
    (folder / ".new" / "db.part").write_text("killed")
    script = render(
        "snapshots/snapshot.sh.j2", folder=folder, keep=2, data=one.data(node) / "member/snap/db", etcdctl=one.etcdctl(node),
        etcdutl=programs()["etcdutl"],
    ).decode()  # fmt: skip
    done = _shell(script)
    assert done.returncode == 0, done.stderr.decode()
    *_, new = kept = sorted(path.name for path in folder.glob("etcd-*"))
    assert kept == ["etcd-20260102T000000Z.db", new] and (folder / "notes").exists()
    assert (folder / new).stat().st_mode & 0o777 == 0o600 and not (folder / ".new").exists()
    (folder / "etcd-29990101T000000Z.db").write_text("made when the clock was ahead")
    (folder / new).unlink()
    assert _shell(script).returncode == 0
    kept = sorted(path.name for path in folder.glob("etcd-*"))
    assert len(kept) == 2 and kept[0] != "etcd-20260102T000000Z.db", "the new one stays"
    full = _shell(script, PATH=_df(tmp_path, 10))
    assert full.returncode == 1 and b"too little space" in full.stderr
    one.stop()
    assert _shell(script).returncode != 0
    assert sorted(path.name for path in folder.glob("etcd-*")) == kept


def test_a_snapshot_that_cannot_be_fetched_does_not_stay_on_the_host(tmp_path: Path) -> None:
    said = 'status {"revision":7,"totalKey":4,"version":"3.7.0"}\nrestored {"revision":7,"totalKey":4}\nsum ab 10\ncounts\n'
    ran: list[str] = []

    class Full:
        def run(self, script: str, *_: object, **__: object) -> Answer:
            ran.append(script)
            return Answer(status=0, stdout=said, stderr="")

        def download(self, _script: str, _target: Path) -> str:
            return "no space left"

    folder = tmp_path / "inventory"
    folder.mkdir()
    plain = VERB_SPEC.replace("secrets: {password_file: secrets/password}\n", "")
    session = Session(inventory=folder, spec=spec_of(plain, folder), roles=(), verb="backup")
    session.remotes["m1"] = cast(Remote, Full())
    with pytest.raises(Failed, match="no space left"):
        taking._from(session, "m1", tmp_path / "etcd.db")
    assert ran[-1] == f"rm -rf {taking.WORK}"


VERB_SPEC = """name: loop
hosts: [{name: m1, address: 192.0.2.11, roles: [master]}]
secrets: {password_file: secrets/password}
"""


class _Here:
    """Stands for the root shell on a member's host: it runs everything here."""

    def __init__(self, name: str) -> None:
        self.name = name

    def run(self, script: str, stdin: Iterable[bytes] = (), *, timeout: float = 0) -> Answer:
        done = _shell(script, b"".join(stdin))
        return Answer(status=done.returncode, stdout=done.stdout.decode(), stderr=done.stderr.decode())

    def download(self, script: str, target: Path) -> str | None:
        done = _shell(script)
        target.write_bytes(done.stdout)
        return done.stderr.decode() if done.returncode else None


def test_the_whole_verb_makes_a_file_with_everything_and_removes_old_ones(
    one: Members, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    node, folder = _fill(one), tmp_path / "inventory"
    (folder / "cluster.yaml").write_text(VERB_SPEC)
    (folder / "journal").mkdir()
    (folder / "journal" / "a.jsonl").write_text("{}\n")
    (folder / "secrets" / "password").write_text("the vault's")
    script = taking.script(str(tmp_path / "work"), one.etcdctl(node), str(programs()["etcdutl"]))
    monkeypatch.setattr(taking, "script", lambda: script)
    monkeypatch.setattr(taking, "WORK", str(tmp_path / "work"))
    state = dataclasses.replace(fresh(), etcd_data=True, started_with={"etcd.service": {}})
    held: list[str] = []

    @contextlib.contextmanager
    def connected(session: Session) -> Iterator[Session]:
        session.hosts["m1"] = FakeHost(name="m1", state=state, log=[])
        session.remotes["m1"] = cast(Remote, _Here("m1"))
        yield session
        held.append(cast(FakeHost, session.hosts["m1"]).held_by)
        session.end()

    monkeypatch.setattr(verb, "connected", connected)
    lock, said = Passphrase(b"correct horse", work=2), list[str]()
    old = folder / "backups" / "loop-20260101T000000Z.backup.age"
    old.parent.mkdir()
    old.write_text("old")
    made = verb.backup(folder, (), lambda event: said.append(event.text), locks=[lock], keep=1)
    assert made.removed == (old,) and [p.name for p in old.parent.iterdir()] == [made.path.name], "nothing else is left"
    assert archive.extract(made.path, [lock], tmp_path / "out") == made.manifest
    beside = ("cluster.yaml", "certificates.json", "secrets/keys.json", "journal/a.jsonl")
    assert set(made.manifest.files) == {"etcd.db", *(f"inventory/{name}" for name in beside)}
    assert made.manifest.left_out == ("secrets/password",) and made.manifest.snapshot.counts == COUNTS
    assert "snapshot of etcd from m1" in said[0] and held != [""] and not (tmp_path / "work").exists()
    inventories.refuse(folder, tmp_path / "out", made.manifest)
    one.stop()
    with pytest.raises(Failed, match=r"(?s)no etcd member gives a snapshot.*m1: its member is not healthy.*runbooks/etcd"):
        verb.backup(folder, (), lambda _event: None, locks=[lock])
    assert [p.name for p in old.parent.iterdir()] == [made.path.name]
