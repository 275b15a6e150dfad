"""kubectl on a master: which one, what it gets on standard input, and what comes back. `ssh` is a stand-in."""

from __future__ import annotations

from pathlib import Path

import pytest

from kubewright.engine.kubectl import captured
from kubewright.errors import Failed
from kubewright.spec import ClusterSpec, loads

SPEC = b"""
name: prod
ssh: {user: deploy, sudo_password_env: KW_TEST_SUDO}
hosts:
  - {name: m1, address: 192.0.2.11, roles: [master]}
  - {name: m2, address: 192.0.2.12, roles: [master]}
  - {name: m3, address: 192.0.2.13, roles: [master]}
"""
# The last argument is the remote command, the one before it the host.
SSH = """#!/bin/sh
log=$(dirname "$0")/log
for word; do host=$command; command=$word; done
echo "$host $command" >> "$log"
case $host in 192.0.2.11) exit 255;; esac
case $command in *readyz*) exit 0;; esac
cat; echo mind >&2; exit 7
"""


@pytest.fixture
def spec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ClusterSpec:
    (tmp_path / "ssh").write_text(SSH)
    (tmp_path / "ssh").chmod(0o700)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setenv("KW_TEST_SUDO", "hush")
    return loads(SPEC, folder=tmp_path)


def test_the_first_master_that_answers_is_asked_and_its_words_come_back(spec: ClusterSpec, tmp_path: Path) -> None:
    done = captured(spec, ["create", "--filename=-", "a b"], b"an object")
    assert (done.returncode, done.stderr) == (7, b"mind\n")
    # sudo's password is the first line, then the mark, then what was given; none of it is an argument.
    assert done.stdout == b"hush\n--kubewright--\nan object"
    log = (tmp_path / "log").read_text()
    assert [line.split()[0] for line in log.splitlines()] == ["192.0.2.11", "192.0.2.12", "192.0.2.12"]
    assert "hush" not in log and "an object" not in log and "'a b'" in log.replace("'\"'\"'", "'")


def test_no_master_that_answers_is_a_failure_that_names_each(spec: ClusterSpec, tmp_path: Path) -> None:
    (tmp_path / "ssh").write_text("#!/bin/sh\nexit 255\n")
    with pytest.raises(Failed, match=r"m1 .*SSH does not answer; m2 .*; m3 "):
        captured(spec, ["get", "nodes"])
