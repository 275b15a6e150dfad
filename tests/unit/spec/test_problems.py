"""Complete problems: where, what, what is allowed, what to do. The cases are in bad_inputs.txt."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from _pytest.mark import ParameterSet

CASES = Path(__file__).with_name("bad_inputs.txt")
ONE_HOST = "name: prod\nhosts:\n  - {name: m1, address: 192.0.2.11, roles: [master]}\n"

Problems = Callable[[str | bytes], list[str]]


def cases() -> Iterator[ParameterSet]:
    for case in CASES.read_text().split("\n== ")[1:]:
        title, _, rest = case.partition("\n")
        text, _, expected = rest.partition("\n----\n")
        yield pytest.param(text + "\n", expected.strip().splitlines(), id=title)


@pytest.mark.parametrize(("text", "expected"), list(cases()))
def test_bad_input_is_reported(text: str, expected: list[str], problems: Problems) -> None:
    assert problems(text) == expected


def test_every_problem_says_what_is_allowed_and_what_to_do() -> None:
    for param in cases():
        for line in param.values[1]:  # type: ignore[union-attr]
            assert len(line.split("; ")) >= 3, line


def test_a_line_is_the_one_in_the_file_after_comments_and_blank_lines(problems: Problems) -> None:
    host = "\n  # c\n  - name: m1\n    address: 192.0.2.11\n    roles:\n      - master\n      # d\n      - mastr\n"
    text = "# a\n\nname: prod\n\n# b\nhosts:\n" + host
    assert [line.split(":")[1] for line in problems(text)] == ["14 hosts[0].roles[1]"]


def test_problems_are_in_the_order_of_the_file(problems: Problems) -> None:
    text = "zz: 1\n" + ONE_HOST + "\n" * 8 + "network: {dns: 10.0.0.1, pods: x}\naa: 1\n"
    assert [line.split(":")[1].split()[0] for line in problems(text)] == ["1", "13", "13", "14"]


def test_a_sudo_password_that_others_can_read_is_refused(tmp_path: Path, problems: Problems) -> None:
    file = tmp_path / "sudo"
    file.write_text("secret")
    file.chmod(0o640)
    assert problems(ONE_HOST + "ssh: {sudo_password_file: sudo}\n") == [
        "cluster.yaml:4 ssh.sudo_password_file: a password that others can read (FOLDER/sudo: mode 0640); "
        "allowed: a file that you alone can read (mode 0600); chmod 0600 FOLDER/sudo"
    ]
    file.chmod(0o600)
    assert problems(ONE_HOST + "ssh: {sudo_password_file: sudo}\n") == []


def test_a_public_key_is_no_key(tmp_path: Path, problems: Problems) -> None:
    (tmp_path / "id.pub").write_text("ssh-ed25519 AAAA me\n")
    (line,) = problems(ONE_HOST + "ssh: {key: id.pub}\n")
    assert "it is the public key" in line
    assert line.endswith("name it without .pub")


def test_a_folder_or_a_pipe_is_no_key(tmp_path: Path, problems: Problems) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name in (".ssh", "pipe"):
        (tmp_path / ".ssh").mkdir(exist_ok=True)
        assert "no regular file" in problems(ONE_HOST + f"ssh: {{key: {name}}}\n")[0]


def test_a_key_without_permission_is_reported(tmp_path: Path, problems: Problems) -> None:
    if os.geteuid() == 0:
        key = Path("/proc/self/mem")  # root may open every file, so read one whose reading fails
        (line,) = problems(ONE_HOST + f"ssh: {{key: {key}}}\n")
        assert "input/output error" in line
        return
    (tmp_path / "id").touch(mode=0o000)
    assert "permission denied" in problems(ONE_HOST + "ssh: {key: id}\n")[0]


def test_a_key_that_many_hosts_share_is_reported_once(problems: Problems) -> None:
    text = "name: prod\nhosts:\n" + "".join(
        f"  - {{name: m{n}, address: 192.0.2.{n}, roles: [master], ssh: {{key: id}}}}\n" for n in (1, 2, 3)
    )
    assert len(problems(text)) == 1


@pytest.mark.parametrize(
    ("setting", "todo"), [("mirror", "~/.netrc (mode 0600)"), ("hosts_fetch_from", "a server that asks for")]
)
def test_a_password_in_a_url_is_refused_with_where_it_goes(problems: Problems, setting: str, todo: str) -> None:
    source = "source: mirror, mirror: 'https://m.example.org', " if setting != "mirror" else "source: mirror, "
    (line,) = problems(ONE_HOST + f"artifacts: {{{source}{setting}: 'https://me:secret@mirror.example.org'}}\n")
    assert f"artifacts.{setting}: a user or password in a URL (not shown); allowed: " in line and todo in line


LONG = "hidden" * 30


@pytest.mark.parametrize("url", ["https://me:hidden/x@m.example.org", "me:hidden@m.example.org", f"https://me:{LONG}@m"])
def test_a_password_in_a_url_is_not_shown(problems: Problems, url: str) -> None:
    (line,) = problems(ONE_HOST + f"artifacts: {{source: mirror, mirror: '{url}'}}\n")
    assert "hidden" not in line


@pytest.mark.parametrize("url", ["https://me:hidden/x@m.example.org", f"https://me:{LONG}@m"])
def test_a_password_in_a_url_is_not_shown_where_no_url_belongs(problems: Problems, url: str) -> None:
    (line,) = problems(ONE_HOST.replace("prod", f"'{url}'"))
    assert "(//...@m" in line or "(https://...@m" in line


def test_two_hosts_behind_one_port_may_differ_by_their_jump_host(problems: Problems) -> None:
    text = (
        "name: prod\nhosts:\n"
        "  - {name: m1, address: 192.0.2.1, roles: [master], ssh: {host: 10.0.0.1, jump: a.example.org}}\n"
        "  - {name: w1, address: 192.0.2.2, roles: [worker], ssh: {host: 10.0.0.1, jump: b.example.org}}\n"
    )
    assert problems(text) == []
