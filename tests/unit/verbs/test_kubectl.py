"""kubectl on a master: the choice of the master, standard input, and output. `ssh` is a stand-in."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from kubewright.errors import Failed
from kubewright.spec import ClusterSpec, loads
from kubewright.verbs import kubectl
from kubewright.verbs.kubectl import captured

SPEC = b"""
name: prod
ssh: {user: deploy, sudo_password_env: KW_TEST_SUDO}
hosts:
  - {name: m1, address: 192.0.2.11, roles: [master]}
  - {name: m2, address: 192.0.2.12, roles: [master]}
  - {name: m3, address: 192.0.2.13, roles: [master]}
"""
# The last argument is the remote command, the one before it the host. Its login prints lines, and `sudo` asks for "hush".
SSH = """#!/bin/sh
log=$(dirname "$0")/log
for word; do host=$command; command=$word; done
echo "$host" >> "$log"
case $host in 192.0.2.11) echo "ssh: no route to host" >&2; exit 255;; esac
echo hello from .bashrc; echo mind the gap >&2
exec sh -c "$command"
"""
SUDO = """#!/bin/sh
while [ "$1" != /bin/sh ]; do shift; done
IFS= read -r given; [ "$given" = hush ] || exit 1
exec "$@"
"""
KUBECTL = """#!/bin/sh
case "$*" in *readyz*) exit 0;; esac
for word; do printf '[%s]' "$word"; done
cat; echo mind >&2; exit 7
"""


@pytest.fixture
def spec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ClusterSpec:
    for name, text in (("ssh", SSH), ("sudo", SUDO), ("kubectl", KUBECTL)):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o700)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setenv("KW_TEST_SUDO", "hush")
    monkeypatch.setattr(kubectl, "_ADMIN", str(tmp_path / "kubectl"))
    monkeypatch.setattr(kubectl, "_PROBE", f"{tmp_path}/kubectl get --raw /readyz")
    (tmp_path / "cluster.yaml").write_bytes(SPEC)
    return loads(SPEC, folder=tmp_path)


def test_the_first_master_that_answers_is_asked_and_its_output_returned(spec: ClusterSpec, tmp_path: Path) -> None:
    done = captured(spec, ["create", "--filename=-", "a b"], b"an object")
    assert (done.returncode, done.stderr) == (7, b"mind\n")
    # Without the password and the login's output.
    assert done.stdout == b"[create][--filename=-][a b]an object"
    assert (tmp_path / "log").read_text().split() == ["192.0.2.11", "192.0.2.12", "192.0.2.12"]


@pytest.mark.usefixtures("spec")
def test_kubectls_output_passes_through_without_the_logins(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert kubectl.kubectl(tmp_path, ["get", "pods"], b"\n") == 7
    assert capfd.readouterr() == ("[get][pods]\n", "mind\n")


def test_without_an_answering_master_the_failure_names_each(spec: ClusterSpec, tmp_path: Path) -> None:
    (tmp_path / "ssh").write_text("#!/bin/sh\necho gone >&2; exit 255\n")
    with pytest.raises(Failed, match=r"m1 .*SSH does not answer \(gone\); m2 .*; m3 "):
        captured(spec, ["get", "nodes"])


def test_a_login_that_runs_no_commands_is_named(spec: ClusterSpec, tmp_path: Path) -> None:
    (tmp_path / "ssh").write_text("#!/bin/sh\necho This account is currently not available.; exit 1\n")
    with pytest.raises(Failed, match=r"m2 .*the login of deploy runs no commands \(This account is"):
        captured(spec, ["get", "nodes"])


@pytest.mark.parametrize("user", ["admin", "alice@corp.example.com", "CORP\\alice"])
def test_openssh_gets_users_and_jump_hosts_unchanged(tmp_path: Path, user: str) -> None:
    text = f"name: a\nssh: {{user: '{user}', jump: '{user}@bastion.example.org:2222'}}\n".encode()
    spec = loads(text + SPEC[SPEC.index(b"hosts:") :], folder=tmp_path)
    command = kubectl._ssh(spec, spec.masters[0], terminal=False)
    told = subprocess.run([command[0], "-F", "none", "-G", *command[1:]], capture_output=True, text=True, check=True).stdout
    settings = dict(line.partition(" ")[::2] for line in told.splitlines())
    assert (settings["user"], settings["hostname"]) == (user, "192.0.2.11")
    through = subprocess.run(
        ["sh", "-c", settings["proxycommand"].replace("ssh ", "ssh -F none -G ", 1).replace("-W '[%h]:%p'", "")],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    settings = dict(line.partition(" ")[::2] for line in through.splitlines())
    assert (settings["user"], settings["hostname"], settings["port"]) == (user, "bastion.example.org", "2222")
