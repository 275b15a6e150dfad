"""The program from the command line: its output and exit codes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from kubewright.backup import archive
from kubewright.backup.age import Passphrase
from kubewright.backup.manifest import Manifest, Taken

KUBEWRIGHT = str(Path(sys.executable).with_name("kubewright"))
CLUSTER = (
    *("init", "validate", "schema", "plan", "apply", "verify", "history", "reset", "backup", "restore", "kubectl", "upgrade"),
    "rollback",
)
VERBS = (*CLUSTER, "artifacts", "certs", "encryption", "secrets", "lab", "user", "node")
READS_SPEC = ("validate", "plan", "apply", "verify", "reset", "backup", "kubectl", "rollback")
WITH_INVENTORY = (*READS_SPEC, "history")
BAD_INPUT = 3


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([KUBEWRIGHT, *arguments], capture_output=True, text=True, timeout=60, check=False)


def test_help_lists_every_verb() -> None:
    done = _run("--help")
    assert done.returncode == 0
    assert [verb for verb in VERBS if verb not in done.stdout] == []


def test_the_version_is_printed() -> None:
    done = _run("--version")
    assert done.returncode == 0 and done.stdout.startswith("kubewright 0."), done.stdout + done.stderr


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself(verb: str) -> None:
    done = _run(verb, "--help")
    assert done.returncode == 0, done.stderr
    assert f"kubewright {verb}" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("no-such-verb",), "No such command"),
        (("apply", "--no-such-option"), "No such option"),
        (("lab", "no-such-verb"), "No such command"),
        (("artifacts", "fetch", "--source", "nowhere"), "nowhere"),
        (("init",), "folder"),
        (("user", "add"), "name"),
        (("user", "list"), "inventory"),
    ],
    ids=["verb", "option", "group verb", "choice", "argument", "user", "user's inventory"],
)
def test_usage_errors_end_in_bad_input_without_a_traceback(arguments: tuple[str, ...], said: str) -> None:
    done = _run(*arguments)
    assert done.returncode == BAD_INPUT
    assert said in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("verb", WITH_INVENTORY)
def test_a_verb_without_its_inventory_is_bad_input(verb: str) -> None:
    done = _run(verb)
    assert done.returncode == BAD_INPUT
    assert "inventory" in done.stderr


@pytest.mark.parametrize("verb", WITH_INVENTORY)
def test_a_missing_inventory_is_bad_input_and_makes_nothing(verb: str, tmp_path: Path) -> None:
    done = _run(verb, "-i", str(tmp_path / "none"))
    assert done.returncode == BAD_INPUT
    assert "no such file" in done.stderr
    assert "kubewright init" in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("verb", READS_SPEC)
def test_a_spec_with_problems_is_bad_input_with_all_problems(verb: str, tmp_path: Path) -> None:
    (tmp_path / "cluster.yaml").write_text("name: Bad Name\nhosts:\n  - {name: m1, address: 999.0.0.1, roles: [master]}\n")
    done = _run(verb, "-i", str(tmp_path))
    assert done.returncode == BAD_INPUT
    assert "cluster.yaml:1" in done.stderr
    assert "cluster.yaml:3" in done.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["cluster.yaml"]


def test_history_is_shown_in_spite_of_a_broken_spec(tmp_path: Path) -> None:
    (tmp_path / "cluster.yaml").write_text("name: Bad Name\n")
    done = _run("history", "-i", str(tmp_path), "--json")
    assert (done.returncode, done.stdout.strip()) == (0, "[]")


def test_a_good_spec_is_done(tmp_path: Path) -> None:
    (tmp_path / "cluster.yaml").write_text("name: a\nhosts:\n  - {name: m1, address: 192.0.2.11, roles: [master]}\n")
    done = _run("validate", "-i", str(tmp_path / "cluster.yaml"))
    assert (done.returncode, done.stderr) == (0, "")
    assert "no problem found" in done.stdout


@pytest.mark.parametrize("verb", ["status", "rotate"])
def test_a_group_s_verbs_take_an_inventory_too(verb: str, tmp_path: Path) -> None:
    assert _run("encryption", verb).returncode == BAD_INPUT
    assert _run("encryption", verb, "-i", str(tmp_path / "none")).returncode == BAD_INPUT


def test_without_an_apply_the_missing_encryption_key_is_reported_with_the_command(tmp_path: Path) -> None:
    (tmp_path / "cluster.yaml").write_text("name: a\nhosts:\n  - {name: m1, address: 192.0.2.11, roles: [master]}\n")
    done = _run("encryption", "status", "-i", str(tmp_path))
    assert done.returncode == 1
    assert "there is no encryption key yet" in done.stderr and "kubewright apply" in done.stderr


SPEC = "name: a\nhosts:\n  - {name: m1, address: 192.0.2.11, roles: [master]}\n"


@pytest.fixture
def backup(tmp_path: Path) -> Path:
    """A backup of the cluster `b`, whose password is in the file `password`; beside an inventory of the cluster `a`."""
    (tmp_path / "cluster.yaml").write_text(SPEC)
    (tmp_path / "password").write_text("correct horse")
    (tmp_path / "password").chmod(0o600)
    snapshot = Taken(member="m1", sha256="", size=0, version="3.7.0", revision=7, keys=2, counts={"pods": 2})
    content: dict[str, Path | bytes] = {"inventory/cluster.yaml": SPEC.replace("name: a", "name: b").encode()}
    manifest = Manifest(
        cluster="b", uid="", etcd_token="b", taken="2026-11-27T18:00:00Z", kubewright="0", kubernetes="1.37.1", snapshot=snapshot,
        files={name: archive.kept(what) for name, what in content.items()},
    )  # fmt: skip
    path = tmp_path / "b-20261127T180000Z.backup.age"
    archive.write(path, [Passphrase(b"correct horse", work=2)], manifest, content)
    return path


def test_a_backup_is_verified_and_listed_without_a_host(backup: Path, tmp_path: Path) -> None:
    password = ("--password-file", str(tmp_path / "password"))
    done = _run("backup", "-i", str(tmp_path), "--verify", str(backup), *password)
    assert done.returncode == 0, done.stderr
    assert "whole; b, taken 2026-11-27T18:00:00Z" in done.stdout and "2 keys at revision 7" in done.stdout
    done = _run("backup", "-i", str(tmp_path), "--list", "--to", str(tmp_path), "--json")
    assert (done.returncode, done.stdout.strip()) == (0, "[]"), "it is another cluster's"


@pytest.mark.parametrize("words", [("backup", "--verify"), ("restore",), ("restore", "--drill")], ids=" ".join)
def test_a_wrong_password_and_a_flipped_byte_fail_with_the_reason_and_change_nothing(
    words: tuple[str, ...], backup: Path, tmp_path: Path
) -> None:
    files = sorted(tmp_path.iterdir())
    password = tmp_path / "password"
    arguments = (words[0], "-i", str(tmp_path), *words[1:], str(backup), "--password-file", str(password))
    password.write_text("wrong")
    done = _run(*arguments)
    assert done.returncode == 1 and "the password is wrong" in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    password.write_text("correct horse")
    whole = bytearray(backup.read_bytes())
    whole[-1] ^= 1
    backup.write_bytes(whole)
    done = _run(*arguments)
    assert done.returncode == 1 and "changed or cut off" in done.stdout + done.stderr
    assert [path for path in sorted(tmp_path.iterdir()) if path.name != "logs"] == files


def test_the_backup_of_another_cluster_is_bad_input(backup: Path, tmp_path: Path) -> None:
    done = _run("restore", "-i", str(tmp_path), str(backup), "--password-file", str(tmp_path / "password"))
    assert done.returncode == BAD_INPUT
    assert "a backup of another cluster (b); allowed: a" in done.stderr
    assert not (tmp_path / "certificates.json").exists()


def test_a_backup_without_keys_or_with_a_readable_password_makes_nothing(tmp_path: Path) -> None:
    (tmp_path / "cluster.yaml").write_text(SPEC)
    (tmp_path / "password").write_text("correct horse")
    (tmp_path / "password").chmod(0o644)
    words = ("backup", "-i", str(tmp_path), "--password-file", str(tmp_path / "password"))
    done = _run(*words)
    assert done.returncode == BAD_INPUT and "others can read it (mode 0644)" in done.stderr
    (tmp_path / "password").chmod(0o600)
    done = _run(*words)
    assert done.returncode == 1 and "a snapshot without the cluster's keys is no backup" in done.stderr
    assert not (tmp_path / "backups").exists()


def test_a_restore_of_a_missing_file_is_bad_input_and_makes_nothing(tmp_path: Path) -> None:
    done = _run("restore", str(tmp_path / "none"), "-i", str(tmp_path / "folder"))
    assert done.returncode == BAD_INPUT and "no such file" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_init_never_overwrites(tmp_path: Path) -> None:
    assert _run("init", str(tmp_path)).returncode == 0
    before = (tmp_path / "cluster.yaml").read_bytes()
    again = _run("init", str(tmp_path))
    assert again.returncode != 0
    assert (tmp_path / "cluster.yaml").read_bytes() == before


def test_all_problems_of_a_user_are_bad_input_at_once_and_make_nothing(tmp_path: Path) -> None:
    (tmp_path / "cluster.yaml").write_text("name: a\nhosts:\n  - {name: m1, address: 192.0.2.11, roles: [master]}\n")
    (tmp_path / "there").write_text("mine")
    words = ("--group", "system:masters", "--namespace", "A", "--csr", str(tmp_path / "none"), "-o", str(tmp_path / "there"))
    done = _run("user", "add", "Alice", "-i", str(tmp_path), *words)
    assert done.returncode == BAD_INPUT
    assert len(done.stderr.splitlines()) == 5 and "Traceback" not in done.stderr
    assert (tmp_path / "there").read_text() == "mine" and sorted(p.name for p in tmp_path.iterdir()) == ["cluster.yaml", "there"]


@pytest.mark.parametrize("words", [("list",), ("revoke", "alice")], ids=str)
def test_users_of_a_missing_inventory_are_bad_input(words: tuple[str, ...], tmp_path: Path) -> None:
    done = _run("user", *words, "-i", str(tmp_path / "none"))
    assert done.returncode == BAD_INPUT and "no such file" in done.stderr


@pytest.mark.parametrize("words", [("list",), ("add", "a.example.org", "A", "192.0.2.9"), ("remove", "a.example.org")], ids=str)
def test_names_of_a_cluster_that_keeps_none_are_bad_input_with_the_setting(words: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "cluster.yaml").write_text("name: a\nhosts:\n  - {name: m1, address: 192.0.2.11, roles: [master]}\n")
    done = _run("dns", *words, "-i", str(tmp_path))
    assert done.returncode == BAD_INPUT and "network.dns_provider" in done.stderr and "Traceback" not in done.stderr
    missing = _run("dns", *words, "-i", str(tmp_path / "none"))
    assert missing.returncode == BAD_INPUT and "no such file" in missing.stderr


MASTERS = "name: a\nhosts:\n" + "".join(f"  - {{name: m{i}, address: 192.0.2.1{i}, roles: [master]}}\n" for i in range(1, 5))
ONE = "name: a\nhosts:\n  - {name: m1, address: 192.0.2.11, roles: [master]}\n"


@pytest.mark.parametrize(
    ("text", "words", "said"),
    [
        (MASTERS, ("add",), "4 masters"),
        (MASTERS, ("replace", "m1", "m9"), "no such host (m9)"),
        (MASTERS, ("remove", "m1", "m2"), "two masters"),
        (ONE, ("remove", "m9"), "no such host (m9)"),
        (ONE, ("remove", "m1"), "no master"),
        (ONE, ("add", "m9"), "no such host (m9)"),
        (ONE, ("isolate", "m9"), "no such node (m9)"),
        (ONE, ("recover", "m9"), "no such node (m9)"),
        (ONE, ("remove",), "NAMES"),
    ],
    ids=str,
)
def test_hosts_that_can_t_join_or_leave_are_bad_input_and_nothing_is_asked(
    text: str, words: tuple[str, ...], said: str, tmp_path: Path
) -> None:
    (tmp_path / "cluster.yaml").write_text(text)
    done = _run("node", words[0], "-i", str(tmp_path), *words[1:])
    assert done.returncode == BAD_INPUT, done.stdout + done.stderr
    assert said.lower() in done.stderr.lower() and "Traceback" not in done.stderr
    assert (tmp_path / "cluster.yaml").read_text() == text


@pytest.mark.parametrize("verb", ["add", "remove", "replace", "isolate", "recover"])
def test_node_verbs_of_a_missing_inventory_are_bad_input(verb: str, tmp_path: Path) -> None:
    done = _run("node", verb, "-i", str(tmp_path / "none"), *(() if verb == "add" else ("m1",)))
    assert done.returncode == BAD_INPUT and "no such file" in done.stderr


SMALL = 'name: a\nkubernetes: "1.36.3"\nhosts:\n  - {name: m1, address: 192.0.2.11, roles: [master]}\n'


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "--to: missing"),
        (("--to", "1.99.0"), "not supported (1.99.0)"),
        (("--status", "--to", "1.99.0"), "not supported (1.99.0)"),
        (("--to", "1.37.1", "--max-unavailable", "0"), "max-unavailable"),
        (("--to", "1.37.1", "--pod-eviction-timeout", "0"), "pod-eviction-timeout"),
    ],
    ids=["no release", "unknown release", "unknown release for a look", "no node at once", "no seconds"],
)
def test_an_upgrade_with_wrong_words_is_bad_input(words: tuple[str, ...], said: str, tmp_path: Path) -> None:
    (tmp_path / "cluster.yaml").write_text(SMALL)
    done = _run("upgrade", "-i", str(tmp_path), *words)
    assert done.returncode == BAD_INPUT and said in done.stderr and "Traceback" not in done.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["cluster.yaml"]


def test_flags_that_the_new_release_lacks_are_bad_input_before_any_host_is_asked(tmp_path: Path) -> None:
    (tmp_path / "cluster.yaml").write_text(f"{SMALL}extra_args:\n  kubelet: {{boot-id-file: /x}}\n")
    done = _run("upgrade", "-i", str(tmp_path), "--to", "1.37.1")
    assert done.returncode == BAD_INPUT
    assert "cluster.yaml:6 extra_args.kubelet.boot-id-file" in done.stderr and "since 1.37" in done.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["cluster.yaml"]


@pytest.mark.parametrize("words", [("upgrade", "--to", "1.37.1"), ("upgrade", "--status"), ("rollback",)], ids=str)
def test_a_move_of_a_missing_inventory_is_bad_input(words: tuple[str, ...], tmp_path: Path) -> None:
    done = _run(*words, "-i", str(tmp_path / "none"))
    assert done.returncode == BAD_INPUT and "no such file" in done.stderr and "Traceback" not in done.stderr


def test_a_rollback_to_an_unknown_release_is_bad_input_before_any_host_is_asked(tmp_path: Path) -> None:
    (tmp_path / "cluster.yaml").write_text(SMALL)
    done = _run("rollback", "-i", str(tmp_path), "--to", "1.99.0")
    assert done.returncode == BAD_INPUT and "not supported (1.99.0)" in done.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["cluster.yaml"]
