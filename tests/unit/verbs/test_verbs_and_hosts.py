"""No verb works on fewer hosts than cluster.yaml has: each names the hosts that do not answer, with the reason, before any
change."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from kubewright.backup import archive
from kubewright.backup.age import Passphrase
from kubewright.backup.manifest import Manifest, Taken
from kubewright.errors import BadInput, Failed, KubewrightError
from kubewright.model.build import make_plan
from kubewright.run.connection import account, connected, everyone
from kubewright.run.run import Run
from kubewright.run.session import Session
from kubewright.spec import load, ssh_key
from kubewright.verbs import kubectl, serving_now
from kubewright.verbs.apply import apply, make_preview
from kubewright.verbs.backup.backup import backup
from kubewright.verbs.backup.restore import restore
from kubewright.verbs.renew import renew
from kubewright.verbs.reset import reset
from kubewright.verbs.rotate.authorities import rotate_authority
from kubewright.verbs.rotate.encryption import rotate_key, standing
from kubewright.verbs.verify import verify
from kubewright.verbs.verify_tls import verify_tls
from tests.support.scenarios import NOW, filled_store
from tests.support.sshd import LOOPBACK, Sshd, add, authorized, made_key, serving, ssh_agent

SPEC = """name: a
ssh: {{known_hosts: known_hosts}}
hosts:
  - {{name: m1, address: 192.0.2.11, roles: [master], ssh: {{host: {host}, port: {m1}, key: good}}}}
  - {{name: w1, address: 192.0.2.21, roles: [worker], ssh: {{host: {host}, port: {w1}, key: bad}}}}
  - {{name: w2, address: 192.0.2.22, roles: [worker], ssh: {{host: {host}, port: {w2}, key: good}}}}
"""


def _say(_event: object) -> None:
    pass


def _summary(done: Any) -> None:
    if done.failure is not None:
        raise done.failure


def _verify(folder: Path) -> None:
    """A host that does not answer is one of its findings, and the others are checked."""
    silent = [f"{result.host}: {result.message}" for result in verify(folder, ()) if result.role == "connection"]
    if silent:
        raise Failed("\n".join(silent))


LOCK = Passphrase(b"correct horse", work=2)


def _backup_file(folder: Path) -> Path:
    """A backup of the inventory in that folder."""
    content: dict[str, Path | bytes] = {
        f"inventory/{name}": (folder / name).read_bytes() for name in ("certificates.json", "secrets/keys.json")
    }
    manifest = Manifest(
        cluster="a", uid="", etcd_token="a", taken="2026-11-27T18:00:00Z", kubewright="0", kubernetes="1.37.1",
        snapshot=Taken(member="m1", sha256="", size=0, version="", revision=1, keys=0, counts={}),
        files={name: archive.kept(what) for name, what in content.items()},
    )  # fmt: skip
    archive.write(folder / "a.backup.age", [LOCK], manifest, content)
    return folder / "a.backup.age"


VERBS: dict[str, Callable[[Path], object]] = {
    "plan": lambda folder: make_preview(folder, (), _say, ()),
    "apply": lambda folder: _summary(apply(folder, (), _say)),
    "verify": _verify,
    "verify --tls": lambda folder: verify_tls(folder, ()),
    "reset": lambda folder: reset(folder, (), _say, snapshot=False),
    "backup": lambda folder: backup(folder, (), _say, locks=[LOCK]),
    "restore": lambda folder: _summary(restore(folder, (), _say, _backup_file(folder), openers=[LOCK])),
    "certs renew": lambda folder: _summary(renew(folder, (), _say, every=True)),
    "certs rotate-ca": lambda folder: _summary(rotate_authority(folder, (), "ca/etcd", _say)),
    "certs status --live": lambda folder: serving_now.serving_now(folder, ()),
    "encryption rotate": lambda folder: _summary(rotate_key(folder, (), _say)),
}
ASKED = {
    "encryption status": lambda folder: standing(folder, ()),
    "kubectl": lambda folder: kubectl.kubectl(folder, ["version"], b""),
}


@pytest.fixture(autouse=True)
def no_agent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)


@pytest.fixture
def hosts(tmp_path: Path) -> Iterator[dict[str, Sshd]]:
    """Three servers that accept the good key, and end every command with an error; the store is filled."""
    good = authorized(made_key(tmp_path / "good"))
    found = {name: Sshd(runs=False, keys=good) for name in ("m1", "w1", "w2")}
    with serving(found["m1"]), serving(found["w1"]), serving(found["w2"]):
        ports = {name: sshd.port for name, sshd in found.items()}
        (tmp_path / "cluster.yaml").write_text(SPEC.format(host=LOOPBACK, **ports))
        (tmp_path / "known_hosts").write_text("".join(sshd.known_hosts() for sshd in found.values()))
        made_key(tmp_path / "bad")
        filled_store(make_plan(load(tmp_path)), tmp_path, NOW)
        yield found


def _only_observed(hosts: dict[str, Sshd]) -> None:
    for sshd in hosts.values():
        assert all("s os; cat /etc/os-release" in script for script in sshd.scripts)


@pytest.mark.parametrize("verb", [*VERBS, *ASKED])
@pytest.mark.parametrize("options", [("-N", "secret"), None], ids=["passphrase", "empty"])
def test_an_unusable_key_ends_every_verb_before_a_host_is_contacted(
    hosts: dict[str, Sshd], tmp_path: Path, verb: str, options: tuple[str, ...] | None
) -> None:
    (tmp_path / "bad").unlink()
    (tmp_path / "bad.pub").unlink()
    made_key(tmp_path / "bad", *options) if options else (tmp_path / "bad").touch(0o600)
    before = (tmp_path / "certificates.json").read_bytes()
    with pytest.raises(BadInput, match=r"hosts\[1\]\.ssh\.key: a key file that can't be used .*bad: "):
        (VERBS | ASKED)[verb](tmp_path)
    assert [sshd.users for sshd in hosts.values()] == [[], [], []]
    assert (tmp_path / "certificates.json").read_bytes() == before


@pytest.mark.parametrize("verb", VERBS)
def test_a_host_that_refuses_the_key_is_named_and_nothing_is_changed(hosts: dict[str, Sshd], tmp_path: Path, verb: str) -> None:
    before = (tmp_path / "certificates.json").read_bytes()
    with pytest.raises(KubewrightError, match=r"(?m)^w1: refuses the login of root \(root@127.0.0.1:\d+\).*authorized_keys"):
        VERBS[verb](tmp_path)
    if verb != "verify":  # it continues to read on the others
        _only_observed(hosts)
    assert hosts["w1"].lines == []
    assert (tmp_path / "certificates.json").read_bytes() == before


@pytest.mark.parametrize("content", [b"", b"PuTTY-User-Key-File-3: ssh-ed25519\n", b"\xff\xfe"])
def test_a_key_that_goes_bad_between_reading_and_connecting_is_named_too(
    hosts: dict[str, Sshd], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    monkeypatch.setattr(ssh_key, "fault", lambda _path: None)
    (tmp_path / "bad").write_bytes(content)
    session = Session(inventory=tmp_path, spec=load(tmp_path), roles=())
    with pytest.raises(KubewrightError, match=r"(?m)^w1: .*bad"), everyone(session):
        pass
    assert hosts["m1"].lines == hosts["w2"].lines == []


def test_every_host_that_accepts_the_key_is_connected(hosts: dict[str, Sshd], tmp_path: Path) -> None:
    hosts["w1"].keys = authorized(tmp_path / "bad")
    session = Session(inventory=tmp_path, spec=load(tmp_path), roles=())
    with connected(session):
        assert list(session.hosts) == list(session.remotes) == ["m1", "w1", "w2"]
        assert session.unreachable == []
        del session.hosts["w2"]
        with pytest.raises(Failed, match=r"^w2: neither connected nor refused"):
            account(session)


@pytest.mark.parametrize("options", [(), ("-t", "rsa")], ids=["ed25519", "rsa"])
def test_a_key_with_a_passphrase_in_the_agent_works(
    hosts: dict[str, Sshd], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...]
) -> None:
    for name in ("good", "bad"):
        for file in (tmp_path / name, tmp_path / f"{name}.pub"):
            file.unlink()
        made_key(tmp_path / name, "-N", "secret", *options)
    with ssh_agent(tmp_path / "agent") as path:
        monkeypatch.setenv("SSH_AUTH_SOCK", str(path))
        for name in ("good", "bad"):
            add(tmp_path / name, "secret")
        for host, key in (("m1", "good"), ("w1", "bad"), ("w2", "good")):
            hosts[host].keys = authorized(tmp_path / key)
        session = Session(inventory=tmp_path, spec=load(tmp_path), roles=())
        with connected(session):
            assert (list(session.hosts), session.unreachable) == (["m1", "w1", "w2"], [])


def test_a_host_that_is_left_out_is_not_connected_to(hosts: dict[str, Sshd], tmp_path: Path) -> None:
    session = Session(inventory=tmp_path, spec=load(tmp_path), roles=(), without=frozenset({"w1"}))
    with connected(session):
        assert list(session.hosts) == ["m1", "w2"]
    assert hosts["w1"].users == []


def test_nothing_is_judged_on_fewer_hosts_than_the_plan_has(tmp_path: Path, hosts: dict[str, Sshd]) -> None:
    run = Run(session=Session(inventory=tmp_path, spec=load(tmp_path), roles=()), waves=())
    with pytest.raises(Failed, match=r"^m1, w1, w2: not observed, so nothing is done"):
        run.check()
