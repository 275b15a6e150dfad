"""A command's environment and answer do not depend on the host's login, PAM and sudo. Over a real SSH connection."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import pytest

from kubewright.errors import Failed
from kubewright.hosts.frame import Unframe
from kubewright.hosts.lock import HOLD
from kubewright.hosts.remote import Remote
from kubewright.hosts.ssh import SshHost
from kubewright.run import connection
from tests.support.sshd import LOOPBACK, Sshd, authorized, made_key, serving

import paramiko  # isort: skip

NOISY = "echo hello from .bashrc; printf 'no newline'; echo mind you >&2"
PROXY = "http://192.0.2.1:9"
# A stand-in for sudo: it reads a line of standard input only when it asks for a password.
SUDO = """#!/bin/sh
[ -z "$LECTURE" ] || echo "We trust you have received the usual lecture" >&2
[ -z "$REQUIRETTY" ] || { echo "sudo: sorry, you must have a tty to run sudo" >&2; exit 1; }
while [ $# -gt 0 ]; do
  case $1 in
    -k) ;;
    -n) [ -z "$ASKS" ] || { echo "sudo: a password is required" >&2; exit 1; } ;;
    -S) from=stdin ;;
    -p) shift ;;
    *) break ;;
  esac
  shift
done
if [ -n "$ASKS" ] && [ "$from" = stdin ]; then
  IFS= read -r given
  [ "$given" = "$ASKS" ] || { echo "sudo: 1 incorrect password attempt" >&2; exit 1; }
fi
exec "$@"
"""

Connect = Callable[..., Remote]


@pytest.fixture
def connect(tmp_path: Path) -> Iterator[Connect]:
    """Connects to a server with that login and environment."""
    key = made_key(tmp_path / "id")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/sudo").write_text(SUDO)
    (tmp_path / "bin/sudo").chmod(0o755)
    with ExitStack() as stack:

        def open_one(
            login: str = "", environment: Mapping[str, str] | None = None, *, user: str = "root", password: str | None = None
        ) -> Remote:
            path = {"PATH": f"{tmp_path}/bin:{os.environ['PATH']}"}
            sshd = stack.enter_context(
                serving(Sshd(login=login, environment=path | dict(environment or {}), keys=authorized(key)))
            )
            client = stack.enter_context(paramiko.SSHClient())
            client.set_missing_host_key_policy(paramiko.MissingHostKeyPolicy())
            client.connect(
                LOOPBACK, sshd.port, user, pkey=paramiko.Ed25519Key.from_private_key_file(str(key)), allow_agent=False,
                look_for_keys=False,
            )  # fmt: skip
            return Remote("m1", client, user=user, password=password)

        yield open_one


def test_a_logins_output_is_not_part_of_the_answer(connect: Connect) -> None:
    answer = connect(NOISY).run("printf 'a\\nb'; echo why >&2; exit 7")
    assert (answer.status, answer.stdout, answer.stderr) == (7, "a\nb", "why\n")


def test_standard_input_reaches_the_command_whole(connect: Connect) -> None:
    sent = bytes(range(256)) * 1000
    assert connect(NOISY).run("sha256sum", [sent]).stdout == connect().run("sha256sum", [sent]).stdout


def test_the_environment_is_ours_alone(connect: Connect) -> None:
    given = {
        **dict.fromkeys(("http_proxy", "https_proxy", "all_proxy", "no_proxy"), PROXY),
        **dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"), PROXY),
        "LC_ALL": "de_DE.UTF-8", "LANG": "de_DE.UTF-8", "BASH_ENV": "/dev/null", "HOME": "/elsewhere", "CURL_HOME": "/elsewhere",
    }  # fmt: skip
    said = connect("umask 077; export PATH=/nowhere:$PATH", given).run("umask; env | sort").stdout.splitlines()
    variables = dict(line.split("=", 1) for line in said[1:])
    assert said[0] == "0022"
    assert {name: value for name, value in variables.items() if not name.startswith("host_")} == {
        "HOME": "/root", "LC_ALL": "C", "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    } | {name: variables[name] for name in ("PWD", "_", "SHLVL", "OLDPWD") if name in variables}  # fmt: skip


@pytest.mark.parametrize("name", ["https_proxy", "HTTP_PROXY", "no_proxy"])
def test_package_managers_get_the_hosts_proxy_and_only_they(connect: Connect, name: str) -> None:
    proxy = (Path(connection.__file__).parents[1] / "hosts/proxy.sh").read_text()
    value = "a b $HOME `id`"
    show = f'echo "${{{name}-none}}"'
    answer = connect(environment={name: value}).run(f"set -eu\n{proxy}\n{show}; proxy_on; {show}; proxy_off; {show}")
    assert answer.stdout.splitlines() == ["none", value, "none"], answer.stderr
    assert connect().run(f"set -eu\n{proxy}\nproxy_on; {show}").stdout == "none\n"


@pytest.mark.parametrize("quirk", ["'", '"', "\\", "!", "$x", "`", "ü", "%s", "\n", "\\n"])
def test_every_character_of_a_script_arrives(connect: Connect, quirk: str) -> None:
    assert connect(user="alice@corp.example.com").run(f"cat <<'END'\n[{quirk}]\nEND").stdout == f"[{quirk}]\n"


@pytest.mark.parametrize(
    ("environment", "password"),
    [({}, None), ({}, "hush"), ({"ASKS": "hush"}, "hush"), ({"ASKS": "hush", "LECTURE": "1"}, "hush")],
    ids=["passwordless", "passwordless although a password is given", "asks", "lectures"],
)
def test_sudo_of_every_kind_runs_the_command_with_its_input(
    connect: Connect, environment: Mapping[str, str], password: str | None
) -> None:
    answer = connect(NOISY, environment, user="deploy", password=password).run("cat; echo why >&2; env", [b"input\n"])
    assert answer.stdout.startswith("input\n") and "hush" not in answer.stdout
    assert answer.stderr == "why\n"


@pytest.mark.parametrize(
    ("environment", "password", "said"),
    [
        ({"REQUIRETTY": "1"}, None, r"sudo wants a terminal \(.*\); add to its sudoers, by visudo: Defaults:deploy !requiretty"),
        ({"ASKS": "hush"}, None, r"sudo refused \(.*a password is required\).*sudo_password_file"),
        ({"ASKS": "hush"}, "wrong", r"sudo refused \(.*incorrect password"),
    ],
)
def test_a_sudo_that_refuses_is_named(connect: Connect, environment: Mapping[str, str], password: str | None, said: str) -> None:
    remote = connect(NOISY, environment, user="deploy", password=password)
    for ask in (lambda: remote.run("true"), lambda: remote.hold(HOLD, "me"), lambda: SshHost("m1", remote, "true").read(["/x"])):
        with pytest.raises(Failed, match=f"^m1: {said}"):
            ask()


def test_a_login_that_ends_before_the_command_is_named(connect: Connect) -> None:
    remote = connect("echo This account is currently not available.; exit 0")
    for ask in (lambda: remote.run("true"), lambda: remote.hold("echo held", "me")):
        with pytest.raises(Failed, match=r"^m1: the login of root runs no commands \(This account is currently not available"):
            ask()


def test_a_killed_command_does_not_count_as_an_answer(connect: Connect) -> None:
    with pytest.raises(Failed, match="ended in the middle of a command"):
        connect().run("echo half; kill -9 $PPID")


def test_a_download_has_only_the_commands_bytes(connect: Connect, tmp_path: Path) -> None:
    target = tmp_path / "db"
    assert connect(NOISY).download("head -c 300000 /dev/zero; printf '\\377end'", target) is None
    assert target.read_bytes() == bytes(300000) + b"\xffend"
    assert target.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(("login", "why"), [(NOISY, "no space"), ("exit 1", "the login of root runs no commands")])
def test_a_failed_download_leaves_nothing_and_gives_the_reason(connect: Connect, tmp_path: Path, login: str, why: str) -> None:
    said = connect(login).download("echo some; echo no space >&2; exit 1", tmp_path / "db")
    assert said is not None and said.startswith(why)
    assert not [path for path in tmp_path.iterdir() if path.name.startswith("db")]


def test_files_are_read_past_a_noisy_login(connect: Connect, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"\x00\xff")
    path = str(tmp_path / "file")
    assert SshHost("m1", connect(NOISY), "true").read([path, f"{path}.gone"]) == {path: b"\x00\xff"}


def test_a_held_command_answers_past_a_noisy_login_and_stays(connect: Connect) -> None:
    channel, said = connect(NOISY).hold('read -r who; echo "held by $who"; cat >/dev/null', "me")
    assert said == "held by me"
    assert not channel.exit_status_ready()
    channel.close()


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100])
def test_marks_are_found_however_the_output_is_cut(size: int) -> None:
    mark, inside = b"--mark--\n", b"a--mark-b--\n--mark--"
    output, unframe = b"noise--mar" + mark + inside + mark + b"after", Unframe(mark)
    assert b"".join(unframe.feed(output[at : at + size]) for at in range(0, len(output), size)) == inside
    assert (unframe.begun, unframe.ended, unframe.noise) == (True, True, b"noise--mar")


def test_output_that_cannot_be_a_mark_is_not_delayed() -> None:
    unframe = Unframe(b"--mark--\n")
    assert unframe.feed(b"--mark--\na line\n") == b"a line\n"
