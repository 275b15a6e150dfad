"""The functions of act.sh, run in a scratch folder."""

from __future__ import annotations

import grp
import os
import pwd
import stat
import subprocess
from pathlib import Path

import pytest

from kubewright.hosts.script import _prelude

ME = pwd.getpwuid(os.getuid()).pw_name
MY_GROUP = grp.getgrgid(os.getgid()).gr_name
as_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can give files away")


def _run(folder: Path, script: str) -> subprocess.CompletedProcess[str]:
    text = f"{_prelude()}\n{script}\n"
    return subprocess.run(["sh", "-c", text], cwd=folder, capture_output=True, text=True, check=False)


def _place(folder: Path, path: str, *, mode: str = "0644", before: str = "") -> subprocess.CompletedProcess[str]:
    return _run(folder, f"{before}\nplace new {folder}/{path} {ME} {MY_GROUP} {mode}")


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "new").write_text("new\n")
    return tmp_path


@pytest.mark.parametrize("mode", ["0644", "0600", "0755"])
def test_a_file_is_placed_with_exactly_its_mode(folder: Path, mode: str) -> None:
    assert _place(folder, "a/b/file", mode=mode).returncode == 0
    assert (folder / "a/b/file").read_text() == "new\n"
    assert _mode(folder / "a/b/file") == int(mode, 8)


def test_components_can_read_the_parent_folders(folder: Path) -> None:
    _place(folder, "a/b/file")
    assert [_mode(folder / d) for d in ("a", "a/b")] == [0o755, 0o755]


def test_a_file_is_replaced_whole_and_not_written_into(folder: Path) -> None:
    target = folder / "file"
    target.write_text("old content that is longer\n")
    with target.open() as reader:
        assert _place(folder, "file").returncode == 0
        assert reader.read() == "old content that is longer\n", "who has it open reads what it opened"
    assert target.read_text() == "new\n"
    assert sorted(p.name for p in folder.iterdir()) == ["file", "new"]


def test_a_link_in_its_place_is_replaced_and_not_followed(folder: Path) -> None:
    (folder / "elsewhere").write_text("untouched\n")
    (folder / "file").symlink_to("elsewhere")
    _place(folder, "file")
    assert (folder / "elsewhere").read_text() == "untouched\n"
    assert not (folder / "file").is_symlink()


# The mode of an unfinished file, checked at each command that sets its owner, its mode and its name.
_WATCH = """
chown() { stat -c 'chown %a' "$2"; command chown "$@"; }
chmod() { stat -c 'chmod %a' "$2"; command chmod "$@"; }
mv() { stat -c 'mv %a' "$2"; command mv "$@"; }
"""


def test_an_unfinished_key_is_never_readable_by_others(folder: Path) -> None:
    done = _place(folder, "key", mode="0600", before=f"umask 077\n{_WATCH}")
    assert done.stdout.splitlines() == ["chown 600", "chmod 600", "mv 600"], done.stderr


def test_only_the_owner_can_read_a_public_file_until_it_is_complete(folder: Path) -> None:
    assert _place(folder, "file", before=_WATCH).stdout.splitlines() == ["chown 600", "chmod 600", "mv 644"]


def test_a_file_is_complete_on_the_disk_before_it_has_its_name(folder: Path) -> None:
    (folder / "file").write_text("old\n")
    watch = f"""
sync() {{ command sync "$@" && cat "$1" {folder}/file; stat -c 'sync %a' "$1"; }}
{_WATCH}"""
    done = _place(folder, "file", before=watch)
    assert done.stdout.splitlines() == ["chown 600", "chmod 600", "new", "old", "sync 644", "mv 644"], done.stderr


def test_a_file_that_does_not_fit_on_the_disk_leaves_the_old_one(folder: Path) -> None:
    (folder / "file").write_text("old\n")
    assert _place(folder, "file", before="sync() { return 1; }").returncode != 0
    assert (folder / "file").read_text() == "old\n"


@as_root
def test_a_file_gets_its_owner(folder: Path) -> None:
    assert _run(folder, f"place new {folder}/file daemon daemon 0600").returncode == 0
    assert ((folder / "file").owner(), (folder / "file").group()) == ("daemon", "daemon")


def test_a_step_stops_at_the_first_file_that_can_not_be_placed(folder: Path) -> None:
    done = _run(folder, f"place new {folder}/file no-such-user no-such-group 0600\ntouch {folder}/later")
    assert done.returncode != 0
    assert not (folder / "later").exists()
    assert not (folder / "file").exists()


def test_a_link_is_made_and_moved(folder: Path) -> None:
    for target in ("/opt/kubewright/x/1/x", "/opt/kubewright/x/2/x"):
        assert _run(folder, f"link {folder}/bin/x {target}").returncode == 0
        assert (folder / "bin/x").readlink() == Path(target)
    assert [p.name for p in (folder / "bin").iterdir()] == ["x"]


def test_a_link_to_a_folder_is_moved_and_nothing_is_put_into_that_folder(folder: Path) -> None:
    for name in ("one", "two"):
        (folder / name).mkdir()
        _run(folder, f"link {folder}/current {folder}/{name}")
    assert (folder / "current").readlink() == folder / "two"
    assert list((folder / "one").iterdir()) == []


def test_a_link_takes_the_place_of_a_file(folder: Path) -> None:
    (folder / "x").write_text("a binary that somebody else put there\n")
    assert _run(folder, f"link {folder}/x /opt/kubewright/x/1/x").returncode == 0
    assert (folder / "x").readlink() == Path("/opt/kubewright/x/1/x")


def test_a_half_written_file_of_a_killed_run_is_replaced(folder: Path) -> None:
    (folder / "file.kubewright").write_text("half of somethi")
    (folder / "x.kubewright").symlink_to("/nowhere")
    _place(folder, "file")
    _run(folder, f"link {folder}/x /opt/kubewright/x/1/x")
    assert (folder / "file").read_text() == "new\n"
    assert (folder / "x").readlink() == Path("/opt/kubewright/x/1/x")
    assert not list(folder.glob("*.kubewright"))


def test_the_prelude_alone_changes_nothing(folder: Path) -> None:
    assert _run(folder, "").returncode == 0
    assert [p.name for p in folder.iterdir()] == ["new"]


def test_a_leftover_that_others_can_read_never_holds_a_key(folder: Path) -> None:
    (folder / "key.kubewright").write_text("")
    (folder / "key.kubewright").chmod(0o644)
    watch = f'chown() {{ stat -c %a "$2" > {folder}/seen; command chown "$@"; }}'
    assert _place(folder, "key", mode="0600", before=watch).returncode == 0
    assert (folder / "seen").read_text() == "600\n"
    assert _mode(folder / "key") == 0o600


LOCKED = """apt() {
  echo x >> tries
  [ "$(wc -l < tries)" -lt 3 ] || return 0
  echo 'E: Could not get lock /var/lib/apt/lists/lock. It is held by process 7 (apt-get)' >&2; return 100
}
sleep() { :; }"""


def test_packages_wait_for_the_lock(folder: Path) -> None:
    done = _run(folder, f"here=.\n{LOCKED}\npatient apt update")
    assert done.returncode == 0, done.stderr
    assert (folder / "tries").read_text() == "x\n" * 3


def test_missing_packages_are_reported_at_once(folder: Path) -> None:
    apt = "apt() { echo x >> tries; echo 'E: Unable to locate package' >&2; return 100; }"
    done = _run(folder, f"here=.\n{apt}\npatient apt install")
    assert done.returncode != 0
    assert "Unable to locate package" in done.stderr
    assert (folder / "tries").read_text() == "x\n"


def _stays(folder: Path, answers: str) -> subprocess.CompletedProcess[str]:
    """`answers`: the results of the probe in order, 1 is healthy; after the last one it stays healthy. Each takes a second."""
    (folder / "answers").write_text("".join(f"{a}\n" for a in answers))
    (folder / "ready").write_text(
        'a=$(head -n 1 answers); sed -i 1d answers; echo x >> asked; [ "${a:-1}" = 1 ] || { echo why not >&2; exit 1; }\n'
    )
    clock = "n=0\ndate() { cat now 2>/dev/null || echo 0; }\nsleep() { n=$((n + 1)); echo $n > now; }\nfailed() { exit 70; }"
    return _run(folder, f"here=.\n{clock}\nstay_ready x.service 20 ready")


@pytest.mark.parametrize("answers", ["", "0", "10010", "1" * 18 + "0000"])
def test_a_short_silence_does_not_fail_a_trial(folder: Path, answers: str) -> None:
    assert _stays(folder, answers).returncode == 0
    assert len((folder / "asked").read_text().splitlines()) >= 20


@pytest.mark.parametrize("answers", ["00000", "1" * 12 + "0" * 5, "1" * 19 + "0" * 5])
def test_a_unit_that_is_no_longer_ready_fails_its_trial_with_the_reason(folder: Path, answers: str) -> None:
    done = _stays(folder, answers)
    assert done.returncode == 70
    assert "why not" in done.stderr


def _versions(folder: Path) -> Path:
    home = folder / "home"
    for name in ("kubelet/1-a", "kubelet/2-b", "etcd/3-c"):
        (home / name).mkdir(parents=True)
        (home / name / "file").write_text("x")
        (home / name / ".manifest").write_text("x")
    return home


def _drop(folder: Path, name: str, version: str) -> subprocess.CompletedProcess[str]:
    return _run(folder, f"home={folder}/home; drop '{name}' '{version}'")


def test_a_versioned_folder_is_removed_and_its_parent_once_that_is_empty(folder: Path) -> None:
    home = _versions(folder)
    assert _drop(folder, "kubelet", "1-a").returncode == 0
    assert sorted(p.name for p in (home / "kubelet").iterdir()) == ["2-b"]
    assert _drop(folder, "etcd", "3-c").returncode == 0
    assert [p.name for p in home.iterdir()] == ["kubelet"]
    assert _drop(folder, "etcd", "3-c").returncode == 0, "what is gone is no error"


@pytest.mark.parametrize(
    ("name", "version"),
    [("", ""), ("kubelet", ""), ("", "1-a"), (".", "1-a"), ("..", "home"), ("kubelet", ".."), ("kubelet", "."),
     ("kubelet/1-a", "file"), ("kubelet", "1-a/file"), ("kubelet", "*"), ("kube let", "1-a")],
)  # fmt: skip
def test_only_versioned_folders_are_removed(folder: Path, name: str, version: str) -> None:
    _versions(folder)
    before = sorted(str(p) for p in folder.rglob("*"))
    done = _drop(folder, name, version)
    assert done.returncode == 70
    assert "nothing is removed" in done.stderr
    assert sorted(str(p) for p in folder.rglob("*")) == before


def test_a_link_in_the_place_of_a_folder_is_not_followed(folder: Path) -> None:
    home = _versions(folder)
    (folder / "precious" / "1-a").mkdir(parents=True)
    (home / "flanneld").symlink_to(folder / "precious")
    (home / "etcd" / "4-d").symlink_to(folder / "precious")
    assert _drop(folder, "flanneld", "1-a").returncode == 0
    assert _drop(folder, "etcd", "4-d").returncode == 0
    assert (folder / "precious" / "1-a").is_dir()
    assert not (home / "etcd" / "4-d").is_symlink()
