"""All hosts are contacted in parallel, and each one that does not answer is named with what to do."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from kubewright.errors import BadInput
from kubewright.hosts import reach
from kubewright.run.connection import connected, execute
from kubewright.run.run import Run
from kubewright.run.session import Session
from kubewright.run.steps import before_changes
from kubewright.spec import ClusterSpec, loads
from kubewright.spec.sections import Ssh

SPEC = """name: a
hosts:
  - {{name: m1, address: 192.0.2.11, roles: [master], ssh: {{host: 127.0.0.1, port: {port}}}}}
  - {{name: w1, address: 192.0.2.21, roles: [worker], ssh: {{host: 127.0.0.1, port: 1}}}}
"""


@pytest.fixture
def spec(tmp_path: Path) -> Iterator[ClusterSpec]:
    """m1 listens, w1 refuses."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield loads(SPEC.format(port=listening.getsockname()[1]).encode(), folder=tmp_path)


def test_a_host_that_answers_has_a_connection_and_one_that_refuses_is_named(spec: ClusterSpec) -> None:
    found, problems = reach.sockets(spec, spec.hosts)
    assert list(found) == ["m1"]
    found["m1"].close()
    assert [str(problem) for problem in problems] == [
        "w1: does not answer over SSH (root@127.0.0.1:1): [Errno 111] Connection refused; "
        "allowed: every host of cluster.yaml must answer; start it, or correct ssh in cluster.yaml"
    ]


def test_a_silent_host_is_named_with_the_time_limit(spec: ClusterSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    def silence(*_arguments: object, **_named: object) -> socket.socket:
        raise TimeoutError("timed out")

    monkeypatch.setattr(socket, "create_connection", silence)
    found, problems = reach.sockets(spec, spec.hosts)
    assert found == {}
    assert [p.where for p in problems] == ["m1", "w1"]
    assert all(f"silent for {reach.ANSWER_TIMEOUT} seconds" in p.what for p in problems)


@pytest.mark.parametrize(
    ("config", "direct"),
    [
        ("", True),
        ("Host *\n  User ada\n", True),
        ("Host 192.0.2.*\n  ProxyJump bastion\n", False),
        ("Host 192.0.2.11\n  ProxyCommand nc %h %p\n", False),
        ("Host 192.0.2.11\n  HostName 198.51.100.7\n", False),
    ],
)
def test_a_host_with_a_proxy_in_ssh_config_is_not_contacted_directly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, config: str, direct: bool
) -> None:
    _write(tmp_path, monkeypatch, config.encode())
    assert reach.is_direct(Ssh(host="192.0.2.11")) is direct
    assert not reach.is_direct(Ssh(host="192.0.2.11", jump="admin@bastion.example.org"))


def _write(home: Path, monkeypatch: pytest.MonkeyPatch, config: bytes) -> None:
    monkeypatch.setenv("HOME", str(home))
    (home / ".ssh").mkdir()
    (home / ".ssh/config").write_bytes(config)


def test_a_proxy_in_an_included_file_counts_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _write(tmp_path, monkeypatch, b"Include work.conf\n")
    (tmp_path / ".ssh/work.conf").write_text("Host 192.0.2.*\n  ProxyJump bastion\n")
    assert not reach.is_direct(Ssh(host="192.0.2.11"))
    assert reach.is_direct(Ssh(host="198.51.100.7"))


@pytest.mark.parametrize(
    ("config", "named"),
    [
        (b"rubbish\n", "Unparsable line rubbish"),
        (b"Match exec\n  User ada\n", "Missing parameter to Match"),
        (b"Include config\n", "Include loop detected"),
        (b"# \xff\n", "codec can't decode"),
        (b"Host *\n  Port ssh\n", "'ssh'"),
        (b"Host *\n  ServerAliveInterval 1m\n", "'1m'"),
    ],
)
@pytest.mark.parametrize("jump", [None, "admin@bastion.example.org"])
def test_an_unreadable_ssh_config_is_bad_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, config: bytes, named: str, jump: str | None
) -> None:
    _write(tmp_path, monkeypatch, config)
    with pytest.raises(BadInput) as refused:
        reach.is_direct(Ssh(host="192.0.2.11", jump=jump))
    said = str(refused.value)
    assert said.startswith(f"{tmp_path}/.ssh/config: can't be read (") and named in said


def test_a_run_with_an_unreadable_ssh_config_ends_before_a_host_is_contacted(
    spec: ClusterSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _write(tmp_path, monkeypatch, b"rubbish\n")
    session = Session(inventory=tmp_path, spec=spec, roles=())
    with pytest.raises(BadInput, match="correct it"), connected(session):
        pass
    assert session.unreachable == []


def test_when_no_host_answers_all_are_named_and_nothing_is_run(tmp_path: Path) -> None:
    session = Session(inventory=tmp_path, spec=loads(SPEC.format(port=2).encode(), folder=tmp_path), roles=())
    with connected(session):
        execute(Run(session=session, waves=()), before_changes())
    assert [problem.where for problem in session.unreachable] == ["m1", "w1"]
    assert session.hosts == {}
