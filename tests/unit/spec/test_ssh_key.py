"""A key file that can't be used is refused before any host is asked, with the reason and the way out. Keys by ssh-keygen."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from kubewright.spec import ssh_key
from tests.support.sshd import add, made_key, ssh_agent
from tests.unit.spec.conftest import Problems

SPEC = "name: prod\nssh: {key: id}\nhosts:\n  - {name: m1, address: 192.0.2.11, roles: [master]}\n"
PASSPHRASE = "it needs a passphrase, and no SSH agent holds it"


@pytest.fixture(autouse=True)
def no_agent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)


@pytest.fixture
def agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with ssh_agent(tmp_path / "agent") as path:
        monkeypatch.setenv("SSH_AUTH_SOCK", str(path))
        yield


@pytest.mark.parametrize(
    "options", [(), ("-t", "rsa"), ("-t", "ecdsa"), ("-t", "rsa", "-m", "PEM"), ("-t", "ecdsa", "-m", "PEM")], ids=" ".join
)
def test_a_key_without_a_passphrase_is_accepted(tmp_path: Path, problems: Problems, options: tuple[str, ...]) -> None:
    made_key(tmp_path / "id", *options)
    assert problems(SPEC) == []


def _write(content: bytes) -> object:
    return lambda path: (path.write_bytes(content), path.chmod(0o600))


def _damaged(path: Path) -> None:
    made_key(path)
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:2], lines[-1], ""]))


def _open_to_others(path: Path) -> None:
    made_key(path).chmod(0o640)


@pytest.mark.parametrize(
    ("make", "why", "todo"),
    [
        (lambda path: made_key(path, "-N", "secret"), PASSPHRASE, "ssh-add FOLDER/id"),
        (lambda path: made_key(path, "-N", "secret", "-t", "rsa", "-m", "PEM"), PASSPHRASE, "ssh-add FOLDER/id"),
        (lambda path: made_key(path, "-N", "secret", "-t", "rsa", "-m", "PKCS8"), PASSPHRASE, "ssh-add FOLDER/id"),
        (_write(b""), "it is empty", "ssh-keygen"),
        (_write(b"\n\n"), "it is empty", "ssh-keygen"),
        (_write(b"PuTTY-User-Key-File-3: ssh-ed25519\nEncryption: none\n"), "it is a PuTTY key", "puttygen FOLDER/id -O private"),
        (_write(b"hello\n"), "it is not a private key", "correct the path"),
        (_write(b"\xff\xfe\x00binary"), "it is not a private key", "correct the path"),
        (lambda path: made_key(path, "-t", "rsa", "-m", "PKCS8"), "its format is not supported", "ssh-keygen -p -N '' -f"),
        (_damaged, "it is damaged", "correct the path"),
        (_open_to_others, "others can read it: mode 0640", "chmod 0600 FOLDER/id"),
    ],
)  # fmt: skip
def test_an_unusable_key_is_named_with_the_cause_and_what_to_do(
    tmp_path: Path, problems: Problems, make: object, why: str, todo: str
) -> None:
    make(tmp_path / "id")  # type: ignore[operator]
    (said,) = problems(SPEC)
    assert said.startswith(f"cluster.yaml:2 ssh.key: a key file that can't be used (FOLDER/id: {why}")
    assert todo in said


@pytest.mark.usefixtures("agent")
@pytest.mark.parametrize("options", [(), ("-t", "rsa", "-m", "PEM")], ids=["OpenSSH", "PEM"])
def test_a_key_with_a_passphrase_is_accepted_once_the_agent_holds_it(
    tmp_path: Path, problems: Problems, options: tuple[str, ...]
) -> None:
    key = made_key(tmp_path / "id", "-N", "secret", *options)
    assert PASSPHRASE in problems(SPEC)[0]
    add(made_key(tmp_path / "other", "-N", "secret"), "secret")
    assert PASSPHRASE in problems(SPEC)[0], "another key in the agent is not this one"
    add(key, "secret")
    assert problems(SPEC) == []


@pytest.mark.usefixtures("agent")
def test_the_public_key_is_read_from_the_encrypted_file_itself(tmp_path: Path) -> None:
    key = made_key(tmp_path / "id", "-N", "secret")
    add(key, "secret")
    key.with_name("id.pub").unlink()
    assert ssh_key.public_key(key) in ssh_key.agent_keys()


def test_an_agent_that_has_ended_has_no_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSH_AUTH_SOCK", str(tmp_path / "gone"))
    assert ssh_key.agent_keys() == frozenset()


def test_every_host_with_a_bad_key_is_named_at_once(tmp_path: Path, problems: Problems) -> None:
    made_key(tmp_path / "good")
    made_key(tmp_path / "id", "-N", "secret")
    _write(b"")(tmp_path / "empty")  # type: ignore[operator]
    hosts = "".join(
        f"  - {{name: {name}, address: 192.0.2.{n}, roles: [{role}], ssh: {{key: {key}}}}}\n"
        for n, (name, role, key) in enumerate([("m1", "master", "good"), ("w1", "worker", "id"), ("w2", "worker", "empty")], 11)
    )
    said = problems(f"name: prod\nhosts:\n{hosts}")
    assert [line.split(":")[1] for line in said] == ["4 hosts[1].ssh.key", "5 hosts[2].ssh.key"]
    assert PASSPHRASE in said[0] and "it is empty" in said[1]
