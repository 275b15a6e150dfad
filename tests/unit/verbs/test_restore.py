"""A restore: what it refuses, its token, and the order of its steps on hosts in memory."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Iterable
from ipaddress import IPv4Address
from pathlib import Path
from typing import cast

import gevent
import pytest

from deploy.waves import CLUSTER
from kubewright.artifacts import Bundle
from kubewright.backup.manifest import INVENTORY, Kept, Manifest, Taken
from kubewright.errors import Refused
from kubewright.hosts.remote import Answer, Remote
from kubewright.model.lineage import Lineage, Member, Recorded, parse
from kubewright.observe.live import Etcd, Host, Live
from kubewright.observe.observed import Observed, UnitState
from kubewright.plan.wave import roles_of, wave
from kubewright.releases import Release, release_for
from kubewright.run.journal import history
from kubewright.run.run import Run
from kubewright.run.session import Session
from kubewright.run.steps import run_step
from kubewright.verbs.backup import afterwards, files, restore, seeding
from kubewright.verbs.backup import backup as backups
from kubewright.verbs.backup import inventory as inventories
from kubewright.verbs.users import record as users
from kubewright.verbs.users.record import Issued
from pki import encryption
from pki.store import INDEX, PRIVATE, Store
from roles.etcd.role import ROLE as ETCD
from roles.flannel.role import UNIT as FLANNELD
from tests.support.fleet import FakeHost
from tests.support.hosts import carried_out
from tests.support.scenarios import NOW, fake_bundle, filled_store, inventory, scenario, spec_of

LAB = scenario("lab")
NAME = LAB.plan.cluster
MASTERS = [node.name for node in LAB.plan.etcd_members]
TAKEN = Taken(member="m1", sha256="ab" * 32, size=3, version="3.7.0", revision=7, keys=2, counts={"pods": 1})
MANIFEST = Manifest(
    cluster=NAME, uid="u", etcd_token=NAME, taken="2026-11-27T18:00:00Z", kubewright="0", kubernetes="1.37.1", snapshot=TAKEN,
    files={f"{INVENTORY}{name}": Kept(size=1, sha256="") for name in ("cluster.yaml", INDEX, PRIVATE)},
)  # fmt: skip
RECORD = Lineage(
    name=NAME, uid="u", created="2026-01-01T00:00:00Z", etcd_id="1", etcd_token=NAME, members=(), settings={},
    first_services="10.96.0.0/16", generation=7,
)  # fmt: skip
WAVES = (next(one for one in CLUSTER if one.title == "base"), wave(ETCD))


KINDS = {b"What uses etcd stops": "stop", b"Before the snapshot is sent": "room", b"stays in use": "prepare"}
"""What a script does, by a word in it; else it receives a file, or changes a member's data."""


class Shell:
    """Stands for the root shell on a host. `fails`: a word in the script that fails there."""

    def __init__(self, host: FakeHost, log: list[tuple[str, str]], fails: str = "") -> None:
        self.host, self.log, self.fails, self.received = host, log, fails, b""

    def run(self, script: str, stdin: Iterable[bytes] = (), *, timeout: float = 0) -> Answer:
        sent = b"".join(stdin)
        kind = next((kind for word, kind in KINDS.items() if word in sent), "receive" if "cat >" in script else "seed")
        self.log.append((kind, self.host.name))
        if kind == self.fails:
            return Answer(status=1, stdout="", stderr="no space left")
        if kind == "receive":
            self.received = sent
        elif kind == "stop":
            self.host.state = dataclasses.replace(self.host.state, units={}, etcd=None, api=None)
        elif kind == "seed":
            token = next(word for word in sent.decode().split("'") if word.startswith(f"{NAME}@")).split()[0]
            self.host.state = dataclasses.replace(self.host.state, etcd_data=True, etcd_restored=f"{token} {TAKEN.sha256}")
        elif kind == "room" and self.host.state.etcd_restored.encode() in sent and self.host.state.etcd_restored:
            return Answer(status=0, stdout="ready\n", stderr="")
        return Answer(status=0, stdout="", stderr="")


class Cluster:
    """Hosts in memory and one restore over them."""

    def __init__(self, folder: Path, *, serving: bool = False, record: Lineage | None = RECORD) -> None:
        self.folder, self.log = folder, list[tuple[str, str]]()
        if record is not None:
            (folder / "cluster.json").write_text(record.text())
        if not (folder / INDEX).exists():
            filled_store(LAB.plan, folder, NOW)
        (folder / "etcd.db").write_bytes(b"abc")
        self.entries = Store(folder).entries
        self.hosts = {node.name: self._host(node.name, serving=serving) for node in LAB.plan.nodes}
        self.fails: dict[str, str] = {}
        self.told: list[str] = []

    def _wanted(self, name: str) -> Observed:
        state = dataclasses.replace(LAB.observed(name), clock=time.time())
        for role in roles_of(WAVES):
            context = dataclasses.replace(LAB.context(name, state), certificates=self.entries)
            if role.runs_on(context.node):
                state = carried_out(role.desired(context), state)
        units = ("unit etcd.service", "unit kube-apiserver.service", "unit kubelet.service")
        return dataclasses.replace(state, installed=units if name in MASTERS else units[2:], clock=time.time())

    def _host(self, name: str, *, serving: bool) -> FakeHost:
        fresh = dataclasses.replace(LAB.observed(name), clock=time.time())
        state = self._wanted(name) if serving else fresh

        def acts(state: Observed) -> Observed:
            wanted = self._wanted(name)
            return dataclasses.replace(wanted, etcd_data=state.etcd_data, etcd_restored=state.etcd_restored)

        return FakeHost(name=name, state=dataclasses.replace(state, etcd_data=serving), log=self.log, acts=acts)

    def restore(self) -> Run:
        self.log.clear()
        session = Session(inventory=self.folder, spec=inventory("lab"), roles=roles_of(WAVES), verb="restore")
        session.hosts.update(self.hosts)
        shells = {name: Shell(host, self.log, self.fails.get(name, "")) for name, host in self.hosts.items()}
        session.remotes.update({name: cast(Remote, shell) for name, shell in shells.items()})
        session.observe_all()
        path = self.folder / "cluster.json"
        record = parse(path.read_text()) if path.exists() else None
        token = restore.next_token(MANIFEST, session.plan, record, session.observed)
        session.plan = dataclasses.replace(session.plan, etcd_token=token)
        session.take_lock()
        run = Run(session=session, waves=WAVES, restores=True)
        made = restore.Restoring(
            run=run, manifest=MANIFEST, snapshot=self.folder / "etcd.db", record=record, issued=users.read(self.folder)
        )
        for step in made.steps():
            gevent.joinall([gevent.spawn(run_step, run, step, name) for name in self.hosts])
        session.end(run.failure)
        self.told = [*made.afterwards()]
        return run

    def done(self, *kinds: str) -> list[tuple[str, str]]:
        return [(what, name) for what, name in self.log if what in kinds]


@pytest.fixture(autouse=True)
def _no_downloads(monkeypatch: pytest.MonkeyPatch) -> None:
    def bundle(_run: Run, release: Release, architecture: str) -> Bundle:
        return fake_bundle(release, architecture)

    monkeypatch.setattr(Run, "_bundle", bundle)


def test_empty_hosts_get_their_programs_then_the_data_and_then_etcd(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path)
    run = cluster.restore()
    assert run.failure is None, run.failure
    order = [what for what, name in cluster.log if name == MASTERS[0] and what in ("push", "receive", "seed", "act")]
    assert order.index("push") < order.index("receive") < order.index("seed") < len(order) - 1 - order[::-1].index("act")
    assert sorted(name for _, name in cluster.done("seed")) == sorted(MASTERS)
    assert cluster.done("stop") == [], "nothing of ours is there to stop"
    assert parse((tmp_path / "cluster.json").read_text()).etcd_token == f"{NAME}@2"
    (past,) = history(tmp_path)
    assert (past.verb, past.outcome) == ("restore", "done") and {*MASTERS} <= {*past.hosts}


def test_on_hosts_that_serve_everything_stops_before_any_member_changes(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path, serving=True)
    run = cluster.restore()
    assert run.failure is None, run.failure
    kinds, count = [what for what, _ in cluster.done("stop", "seed")], len(cluster.hosts)
    assert kinds[:count] == ["stop"] * count and "stop" not in kinds[count:]
    kinds = [what for what, _ in cluster.done("stop", "prepare", "receive")]
    assert kinds.index("stop") == 2 * len(MASTERS), "what takes time and space comes before the stop"
    last = max(n for n, (what, _) in enumerate(cluster.log) if what == "seed")
    assert [name for what, name in cluster.log[last:] if what == "observe"][: len(cluster.hosts)] != []
    assert all(host.state.runs("etcd.service") for name, host in cluster.hosts.items() if name in MASTERS)


@pytest.mark.parametrize("other", ["3.6.14", "9.9.9"])
def test_a_cluster_that_was_lost_during_an_upgrade_gets_the_release_of_cluster_yaml(tmp_path: Path, other: str) -> None:
    cluster = Cluster(tmp_path, serving=True)
    host = cluster.hosts[MASTERS[0]]
    links = {
        path: dataclasses.replace(entry, target=entry.target.replace(f"/{LAB.plan.release.etcd}-", f"/{other}-"))
        for path, entry in host.state.entries.items()
    }
    assert links != host.state.entries
    host.state = dataclasses.replace(host.state, entries=links)
    run = cluster.restore()
    assert run.failure is None, run.failure
    assert len(cluster.done("seed")) == len(MASTERS)


@pytest.mark.parametrize("step", ["room", "receive", "prepare"])
def test_a_member_without_space_for_the_data_stops_nothing_anywhere(tmp_path: Path, step: str) -> None:
    cluster = Cluster(tmp_path, serving=True)
    cluster.fails[MASTERS[1]] = step
    run = cluster.restore()
    assert "the snapshot can't be kept there, and nothing was stopped: no space left" in str(run.failure)
    assert cluster.done("stop", "seed") == []
    assert all(cluster.hosts[name].state.runs("etcd.service") for name in MASTERS)
    begun = parse((tmp_path / "cluster.json").read_text())
    assert (begun.etcd_token, begun.operation) == (NAME, ""), "the next one asks again whether the cluster is live"


def test_a_restore_that_fails_on_one_member_starts_etcd_nowhere_and_the_next_resumes_with_the_same_token(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path, serving=True)
    cluster.fails[MASTERS[1]] = "seed"
    run = cluster.restore()
    assert "etcd's data can't be restored: no space left" in str(run.failure)
    seeded = [name for name in MASTERS if cluster.hosts[name].state.etcd_restored]
    assert MASTERS[1] not in seeded
    assert not any(host.state.runs("etcd.service") for name, host in cluster.hosts.items() if name in MASTERS)
    begun = parse((tmp_path / "cluster.json").read_text())
    assert (begun.etcd_token, begun.operation, begun.generation) == (f"{NAME}@2", restore.operation(MANIFEST, LAB.plan), 8)
    assert restore.resumes(MANIFEST, LAB.plan, begun, {})
    cluster.fails.clear()
    again = cluster.restore()
    assert again.failure is None, again.failure
    assert [name for _, name in cluster.done("receive")] == [name for name in MASTERS if name not in seeded]
    tokens = {host.state.etcd_restored for name, host in cluster.hosts.items() if name in MASTERS}
    assert tokens == {f"{NAME}@2 {TAKEN.sha256}"}


def test_the_token_is_one_that_no_member_has_had() -> None:
    hosts = {"m1": dataclasses.replace(LAB.observed("m1"), etcd_token=f"{NAME}@4"), "m2": LAB.observed("m2")}
    assert restore.next_token(MANIFEST, LAB.plan, None, {}) == f"{NAME}@2"
    assert restore.next_token(MANIFEST, LAB.plan, RECORD, hosts) == f"{NAME}@5"
    hosts["m2"] = dataclasses.replace(hosts["m2"], etcd_restored=f"{NAME}@6 ab")
    assert restore.next_token(MANIFEST, LAB.plan, RECORD, hosts) == f"{NAME}@7"


BEGUN = dataclasses.replace(RECORD, etcd_token=f"{NAME}@2", operation=restore.operation(MANIFEST, LAB.plan), generation=8)
"""The record beside an inventory whose restore was killed."""


def _seen(**facts: object) -> dict[str, Observed]:
    return {"m1": dataclasses.replace(LAB.observed("m1"), etcd_data=True, **facts)}  # type: ignore[arg-type]


def test_a_restore_that_another_machine_has_ended_does_not_resume_from_an_old_record() -> None:
    assert restore.resumes(MANIFEST, LAB.plan, BEGUN, _seen(etcd_restored=f"{NAME}@2 ab"))
    whole = dataclasses.replace(BEGUN, operation="")
    later = dataclasses.replace(whole, etcd_token=f"{NAME}@3")
    for facts in ({"lineage": whole}, {"lineage": later}, {"etcd_restored": f"{NAME}@3 ab"}, {"etcd_token": f"{NAME}@3"}):
        assert not restore.resumes(MANIFEST, LAB.plan, BEGUN, _seen(**facts)), facts
        assert restore.next_token(MANIFEST, LAB.plan, BEGUN, _seen(**facts)) in (f"{NAME}@3", f"{NAME}@4")


def test_a_restore_onto_other_members_than_at_its_first_try_gives_all_of_them_a_new_token() -> None:
    first = LAB.plan.etcd_members[0]
    moved = dataclasses.replace(first, address=IPv4Address("192.0.2.99"))
    other = dataclasses.replace(LAB.plan, nodes=tuple(moved if node is first else node for node in LAB.plan.nodes))
    hosts = _seen(etcd_restored=f"{NAME}@2 {TAKEN.sha256}")
    assert restore.next_token(MANIFEST, LAB.plan, BEGUN, hosts) == f"{NAME}@2"
    assert restore.next_token(MANIFEST, other, BEGUN, hosts) == f"{NAME}@3"


def test_a_cluster_that_answers_is_replaced_only_with_the_option() -> None:
    answers = Etcd(cluster_id="1", members=())
    hosts = {"m1": dataclasses.replace(LAB.observed("m1"), etcd=answers), "m2": LAB.observed("m2")}
    (problem,) = restore.live(hosts, resumed=False, replace_live=False)
    assert "the cluster is live: etcd answers" in str(problem) and "--replace-live" in str(problem)
    assert not list(restore.live(hosts, resumed=False, replace_live=True))
    assert not list(restore.live(hosts, resumed=True, replace_live=False))
    lost = {"m1": dataclasses.replace(LAB.observed("m1"), etcd_data=True, units={"etcd.service": UnitState(active="active")})}
    assert not list(restore.live(lost, resumed=False, replace_live=False)), "without a quorum nothing answers"


def test_members_with_a_quorum_of_data_are_to_be_started_not_restored() -> None:
    data = {name: dataclasses.replace(LAB.observed(name), etcd_data=name != MASTERS[2]) for name in MASTERS}
    members = restore.members_before(None, LAB.plan)
    assert members == {*MASTERS}
    (problem,) = restore.live(data, resumed=False, replace_live=False, members=members)
    said = f"{MASTERS[0]}, {MASTERS[1]} of its 3 members have their data: a quorum"
    assert said in str(problem) and "--replace-live" in str(problem)
    assert not list(restore.live(data, resumed=False, replace_live=True, members=members))
    assert not list(restore.live(data, resumed=True, replace_live=False, members=members))
    lost = data | {MASTERS[1]: dataclasses.replace(data[MASTERS[1]], etcd_data=False)}
    assert not list(restore.live(lost, resumed=False, replace_live=False, members=members))
    # Two of the three that the record names are no more: cluster.yaml has other hosts.
    first = Member(name=MASTERS[0], id="1", peer_urls=())
    old = dataclasses.replace(RECORD, members=(first, dataclasses.replace(first, name="x"), dataclasses.replace(first, name="y")))
    before = restore.members_before(old, LAB.plan)
    assert before == {MASTERS[0], "x", "y"}
    assert not list(restore.live(data, resumed=False, replace_live=False, members=before))


SPEC = "name: {name}\nhosts:\n  - {{name: m1, address: 192.0.2.11, roles: [master]}}\n"


@pytest.fixture
def backup(tmp_path: Path) -> Path:
    """The extracted files of a backup."""
    folder = tmp_path / "backup" / INVENTORY
    filled_store(LAB.plan, folder, NOW)
    (folder / "cluster.yaml").write_text(SPEC.format(name=NAME))
    return tmp_path / "backup"


def test_a_new_folder_gets_the_files_and_what_is_there_stays(backup: Path, tmp_path: Path) -> None:
    new, mine = tmp_path / "new", tmp_path / "mine"
    inventories.refuse(new, backup, MANIFEST)
    assert inventories.fill(new, backup, MANIFEST) == [INDEX, "cluster.yaml", PRIVATE]
    assert (new / PRIVATE).stat().st_mode & 0o777 == 0o600
    assert (new / ".gitignore").exists()
    mine.mkdir()
    (mine / "cluster.yaml").write_text("# mine\n" + SPEC.format(name=NAME))
    inventories.refuse(mine, backup, MANIFEST)
    assert inventories.fill(mine, backup, MANIFEST) == [INDEX, PRIVATE]
    assert (mine / "cluster.yaml").read_text().startswith("# mine")
    inventories.refuse(new, backup, MANIFEST)
    assert inventories.fill(new, backup, MANIFEST) == []


def test_the_backup_of_another_cluster_is_refused(backup: Path, tmp_path: Path) -> None:
    folder = tmp_path / "other"
    folder.mkdir()
    (folder / "cluster.yaml").write_text(SPEC.format(name="staging"))
    with pytest.raises(Refused, match=rf"a backup of another cluster \({NAME}\); allowed: staging"):
        inventories.refuse(folder, backup, MANIFEST)
    (folder / "cluster.yaml").write_text(SPEC.format(name=NAME))
    (folder / "cluster.json").write_text(dataclasses.replace(RECORD, uid="v").text())
    with pytest.raises(Refused, match=r"another cluster of the same name .* is u\); allowed: v"):
        inventories.refuse(folder, backup, MANIFEST)


def test_keys_that_cannot_read_the_backup_s_secrets_are_refused(backup: Path, tmp_path: Path) -> None:
    folder = tmp_path / "rotated"
    store = filled_store(LAB.plan, folder, NOW)
    with pytest.raises(Refused, match="the key that the backup's Secrets are encrypted with is not there"):
        inventories.refuse(folder, backup, MANIFEST)
    (folder / PRIVATE).unlink()
    with pytest.raises(Refused, match=f"{INDEX} is there, and {PRIVATE} is not"):
        inventories.refuse(folder, backup, MANIFEST)
    # A later stage of the same key reads them still.
    fresh = tmp_path / "later"
    inventories.fill(fresh, backup, MANIFEST)
    encryption.advance(Store(fresh), encryption.providers(Store(fresh).entries).stage, NOW)
    inventories.refuse(fresh, backup, MANIFEST)
    assert store.entries


@pytest.mark.parametrize(
    ("kubernetes", "had", "data", "said"),
    [
        ("1.37.1", "1.37.1", "3.7.0", ""),
        ("1.37.0", "1.37.1", "3.7.0", ""),
        ("1.37.1", "1.36.3", "3.6.0", ""),
        ("1.36.3", "1.36.3", "", ""),
        ("1.36.3", "1.37.1", "3.7.0", r'1\.36\.3 is older than the backup .*1\.37\.1, with data of etcd 3\.7.*"1\.37\.1" there'),
        ("1.36.3", "1.36.3", "3.7.0", r"older than the backup .*; name the later release there"),
        ("1.35.4", "1.36.3", "3.6.0", "older than the backup"),
        ("1.37.1", "1.35.4", "3.6.0", r'more than one minor release later .*write kubernetes: "1\.35\.4" there'),
    ],
)
def test_a_release_that_cannot_read_the_backup_is_refused_before_a_host_is_asked(
    kubernetes: str, had: str, data: str, said: str
) -> None:
    made = dataclasses.replace(MANIFEST, kubernetes=had, snapshot=dataclasses.replace(TAKEN, version=data))
    with pytest.raises(Refused, match=said) if said else contextlib.nullcontext():
        inventories.refuse_release(release_for(kubernetes), made)


def test_the_release_of_a_backup_during_an_upgrade_is_the_later_one() -> None:
    hosts = {
        name: Host(machine_id="", node=name, addresses=frozenset(), roles=frozenset(), settings={}, versions=versions)
        for name, versions in {"m1": {"kube-apiserver": "1.37.1"}, "m2": {"kube-apiserver": "1.36.3"}, "w1": {}}.items()
    }
    assert backups.latest("1.36.3", Live(hosts=hosts)) == "1.37.1"
    assert backups.latest("1.36.3", Live()) == "1.36.3"


def test_keys_on_hosts_that_are_no_more_and_rights_that_are_back_are_told(tmp_path: Path) -> None:
    """m2 was rebuilt: it has another machine ID; the etcd host has no node that could be seen."""
    there, lost = Recorded(name="m1", address="192.0.2.1", roles=("master",), kubernetes=""), ("m2", "e1")
    before = {name: Recorded(name=name, address="192.0.2.2", roles=("etcd",), kubernetes="") for name in lost}
    cluster = Cluster(tmp_path, record=dataclasses.replace(RECORD, hosts=before))
    rows = [
        Issued(name=name, kind="certificate", id=name, groups=(), grants=(), issued=NOW.isoformat(), expires="", revoked=revoked)
        for name, revoked in {"early": "2026-11-27T17:00:00Z", "late": "2026-11-27T19:00:00Z", "never": ""}.items()
    ]
    for row in rows:
        users.add(tmp_path, row)
    cluster.restore()
    said = "\n".join(cluster.told)
    assert "not here as they were: m2 (192.0.2.2), e1 (192.0.2.2)" in said or "e1 (192.0.2.2), m2 (192.0.2.2)" in said
    assert "rotate-ca etcd" in said and "rotate-ca kubernetes" not in said
    assert "let in again by it: late; revoke them again: kubewright user revoke late" in said
    known = {"m1": dataclasses.replace(LAB.observed("m1"), machine_id="a")}
    assert [*afterwards.left_behind(dataclasses.replace(RECORD, hosts={"a": there}), known)] == []
    assert [*afterwards.left_behind(None, known)] == [] == [*afterwards.revived((), MANIFEST.taken)]


def test_files_that_cluster_yaml_names_are_collected_and_logins_are_not(tmp_path: Path) -> None:
    (tmp_path / "manifests").mkdir()
    (tmp_path / "manifests" / "a.yaml").write_text("")
    (tmp_path / "secrets").mkdir()
    for name in ("secrets/password", "id", "hosts.known", "outside"):
        (tmp_path / name).write_text("x")
    (tmp_path / "cluster.yaml").write_text("x")
    spec = spec_of(
        SPEC.format(name="a")
        + "addons: [traefik, ./manifests]\nsecrets: {password_file: secrets/password}\n"
        + f"ssh: {{key: id, known_hosts: hosts.known}}\npki: {{etcd_ca: {tmp_path.parent / 'elsewhere'}}}\n",
        tmp_path,
    )
    found, left_out = files.collected(tmp_path, spec)
    names = {name.removeprefix(INVENTORY) for name in found}
    assert names == {"cluster.yaml", "hosts.known", "manifests/a.yaml"}
    assert set(left_out) == {"secrets/password", "id", str(tmp_path.parent / "elsewhere")}


def test_the_stop_script_names_what_does_not_stop() -> None:
    script = seeding.stop(has_etcd_clients=True)
    assert "systemctl stop kube-apiserver.service" in script and "does not stop" in script
    assert script.index("kube-apiserver") < script.index("stop etcd")


def test_flannel_stops_on_every_node_so_that_each_gets_its_lease_in_the_restored_etcd() -> None:
    assert f"systemctl stop {FLANNELD}" in seeding.stop(has_etcd_clients=True)
    worker = seeding.stop(has_etcd_clients=False)
    assert f"systemctl stop {FLANNELD}" in worker and "kube-apiserver" not in worker
