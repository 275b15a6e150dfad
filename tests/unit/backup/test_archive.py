"""A backup file: whole or refused, with the reason; its manifest, retention, passwords."""

from __future__ import annotations

import dataclasses
import io
import tarfile
from pathlib import Path

import pytest

from kubewright.backup import archive, keeping, keys, manifest
from kubewright.backup.age import CHUNK, Identity, Passphrase, Writer
from kubewright.backup.manifest import Kept, Manifest, Taken
from kubewright.errors import BadInput, Failed

CHEAP = Passphrase(b"correct horse", work=2)
TAKEN = Taken(member="m1", sha256="", size=3, version="3.7.0", revision=7, keys=2, counts={"pods": 1, "secrets": 1})
CONTENT: dict[str, Path | bytes] = {
    "etcd.db": b"x" * (2 * CHUNK),
    "inventory/cluster.yaml": b"name: a\n",
    "inventory/journal/a.jsonl": b"",
}


def _manifest(content: dict[str, Path | bytes] = CONTENT) -> Manifest:
    return Manifest(
        cluster="prod", uid="u", etcd_token="prod", taken="2026-11-27T18:00:00Z", kubewright="0", kubernetes="1.37.1",
        snapshot=TAKEN, files={name: archive.kept(what) for name, what in content.items()}, left_out=("~/.ssh/id",),
    )  # fmt: skip


@pytest.fixture
def backup(tmp_path: Path) -> Path:
    path = tmp_path / "a.backup.age"
    archive.write(path, [CHEAP], _manifest(), CONTENT)
    return path


def test_what_was_written_is_read(backup: Path, tmp_path: Path) -> None:
    found = archive.extract(backup, [CHEAP], tmp_path / "out")
    assert found == _manifest() == archive.verify(backup, [CHEAP])
    assert {name: (tmp_path / "out" / name).read_bytes() for name in CONTENT} == CONTENT
    assert {(tmp_path / "out" / name).stat().st_mode & 0o777 for name in CONTENT} == {0o600}
    assert backup.stat().st_mode & 0o777 == 0o600


def test_a_wrong_password_is_named_with_what_to_do(backup: Path) -> None:
    with pytest.raises(Failed, match=r"the password is wrong.*--password-file"):
        archive.verify(backup, [Passphrase(b"wrong")])


def test_a_flipped_byte_in_every_region_is_refused(backup: Path, tmp_path: Path) -> None:
    whole = backup.read_bytes()
    regions = {*range(0, 260, 7), CHUNK, 2 * CHUNK, len(whole) // 2, len(whole) - 17, len(whole) - 1}
    for at in sorted(regions):
        changed = bytearray(whole)
        changed[at] ^= 16
        backup.write_bytes(changed)
        with pytest.raises(Failed, match="nothing was changed"):
            archive.verify(backup, [CHEAP])


def test_a_backup_that_is_cut_off_is_refused(backup: Path) -> None:
    whole = backup.read_bytes()
    for size in (0, 10, 100, CHUNK, len(whole) - 1):
        backup.write_bytes(whole[:size])
        with pytest.raises(Failed, match="it is not used"):
            archive.verify(backup, [CHEAP])


def test_a_missing_backup_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Failed, match="no such file"):
        archive.verify(tmp_path / "none", [CHEAP])


def test_nothing_is_left_when_the_content_is_not_what_the_manifest_says(tmp_path: Path) -> None:
    wrong = dataclasses.replace(_manifest(), files={name: Kept(size=1, sha256="") for name in CONTENT})
    with pytest.raises(Failed, match="differs from its sum"):
        archive.write(tmp_path / "b.backup.age", [CHEAP], wrong, CONTENT)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["../evil", "/etc/evil", "a/../../evil", "unnamed", "a//b"])
def test_a_file_outside_the_folder_is_refused(name: str, tmp_path: Path) -> None:
    said = dataclasses.replace(_manifest(), files={name: archive.kept(b"x")} if name != "unnamed" else {})
    path = tmp_path / "in" / "c.backup.age"
    path.parent.mkdir()
    with path.open("wb") as file:
        writer = Writer(file, [CHEAP])
        with tarfile.open(fileobj=writer, mode="w|") as made:  # type: ignore[call-overload]
            for entry, content in ((manifest.NAME, said.text()), (name, b"x")):
                info = tarfile.TarInfo(entry)
                info.size = len(content)
                made.addfile(info, io.BytesIO(content))
        writer.finish()
    with pytest.raises(Failed, match="manifest does not name"):
        archive.extract(path, [CHEAP], tmp_path / "in" / "out")
    assert not list(tmp_path.rglob("evil"))


def test_a_manifest_of_a_later_format_is_refused() -> None:
    with pytest.raises(ValueError, match="its format is 2"):
        manifest.parse(_manifest().text().replace(b'"format": 1', b'"format": 2'))
    with pytest.raises(ValueError, match="can't be read"):
        manifest.parse(b'{"format": 1}')


def test_objects_are_counted_by_resource() -> None:
    said = "/registry/pods/a/b\n\n/registry/pods/a/c\n/registry/services/specs/a/b\n/registry/x.io/things/a/b\nother\n"
    assert manifest.counted(said) == {"pods": 2, "services/specs": 1, "x.io/things": 1}
    assert manifest.differences({"pods": 2, "a": 1}, {"pods": 3, "a": 1}) == {"pods": (2, 3)}


def test_only_old_backups_of_the_cluster_are_removed(tmp_path: Path) -> None:
    names = [keeping.name("prod", 1e9 + n) for n in range(4)]
    for name in (*names, keeping.name("other", 1e9), "notes.txt", "prod-2.backup.age"):
        (tmp_path / name).write_text("x")
    assert [one.path.name for one in keeping.listed(tmp_path, "prod")] == names[::-1]
    new = tmp_path / names[-1]
    assert [path.name for path in keeping.remove_old(tmp_path, "prod", 3, new=new)] == names[:1]
    assert [path.name for path in keeping.remove_old(tmp_path, "prod", 0, new=new)] == names[2:0:-1]
    assert len(list(tmp_path.iterdir())) == 4


def test_the_new_backup_stays_when_the_clock_was_ahead_before(tmp_path: Path) -> None:
    names = [keeping.name("prod", 1e9 + n) for n in range(3)]
    for name in names:
        (tmp_path / name).write_text("x")
    new = tmp_path / names[0]
    assert [path.name for path in keeping.remove_old(tmp_path, "prod", 1, new=new)] == names[:0:-1]
    assert new.exists()


def test_a_password_comes_from_a_private_file_or_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "password"
    file.write_text("correct horse\n")
    with pytest.raises(BadInput, match=r"others can read it \(mode 0644\).*chmod 0600"):
        keys.locks((), file)
    file.chmod(0o600)
    assert keys.locks((), file) == [Passphrase(b"correct horse")]
    monkeypatch.setenv(keys.VARIABLE, "battery staple")
    assert keys.openers(None, None) == [Passphrase(b"battery staple")]


@pytest.mark.parametrize(("content", "said"), [("", "empty password"), ("short", "5 characters")])
def test_a_password_that_is_too_short_is_refused(content: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "password").write_text(content)
    (tmp_path / "password").chmod(0o600)
    with pytest.raises(BadInput, match=said):
        keys.locks((), tmp_path / "password")


def test_a_private_key_given_as_a_recipient_is_not_printed(tmp_path: Path) -> None:
    secret = Identity.generate().text()
    with pytest.raises(BadInput) as refused:
        keys.locks((secret, "age1nonsense"), None)
    assert secret not in str(refused.value) and len(refused.value.problems) == 2
    (tmp_path / "key").write_text(f"# created\n{secret}\n")
    (tmp_path / "key").chmod(0o600)
    assert keys.openers(tmp_path / "key", None) == [Identity.parse(secret)]
    (tmp_path / "key").write_text("nonsense")
    with pytest.raises(BadInput, match="key"):
        keys.openers(tmp_path / "key", None)
