"""The program from the command line: its output and exit codes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

KUBEWRIGHT = str(Path(sys.executable).with_name("kubewright"))
CLUSTER = ("init", "validate", "schema", "plan", "apply", "verify", "history", "reset", "kubectl")
VERBS = (*CLUSTER, "artifacts", "certs", "encryption", "secrets", "lab", "user")
READS_SPEC = ("validate", "plan", "apply", "verify", "reset", "kubectl")
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
