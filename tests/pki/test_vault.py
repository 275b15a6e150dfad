"""The private store in an Ansible Vault: passwords, wrong passwords, and no key in plain text."""

from __future__ import annotations

import hashlib
import json
import os
import pty
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from kubewright.errors import BadInput, Failed
from pki.store import INDEX, PRIVATE, Store
from pki.vault import HEAD, PROGRAM, Vault, password_from

ONE = {"a": (b"certificate a", b"-----BEGIN PRIVATE KEY----- a")}
PASSWORD = b"correct horse"


def _vault(password: bytes = PASSWORD) -> Vault:
    return Vault(lambda: password)


def _file(path: Path, content: str, mode: int = 0o600) -> Path:
    path.write_text(content)
    path.chmod(mode)
    return path


@pytest.fixture(scope="module")
def sealed() -> bytes:
    """The private file of ONE in a vault; made once, since ansible-vault takes time."""
    keys = {"b" * 64: "other", hashlib.sha256(ONE["a"][1]).hexdigest(): ONE["a"][1].decode()}
    return _vault().sealed(json.dumps(keys).encode())


@pytest.fixture
def folder(tmp_path: Path, sealed: bytes) -> Path:
    Store(tmp_path).add(ONE)
    _file(tmp_path / PRIVATE, sealed.decode())
    return tmp_path


def test_the_keys_go_into_a_vault_and_nothing_is_left_in_plain(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.add(ONE)
    with store.locked():
        store.recrypt(_vault())
    assert (tmp_path / PRIVATE).read_bytes().startswith(HEAD)
    assert stat.S_IMODE((tmp_path / PRIVATE).stat().st_mode) == 0o600
    assert not [p for p in tmp_path.rglob("*") if p.is_file() and b"PRIVATE KEY" in p.read_bytes()]
    assert Store(tmp_path, _vault()).key("a") == ONE["a"][1]
    ansible = [str(PROGRAM), "view", "--vault-password-file", str(_file(tmp_path / "pw", PASSWORD.decode()))]
    assert "PRIVATE KEY" in subprocess.run([*ansible, str(tmp_path / PRIVATE)], capture_output=True, text=True, check=True).stdout


def test_the_index_answers_without_the_password(folder: Path) -> None:
    store = Store(folder, Vault(lambda: pytest.fail("asked")))
    assert (store.certificate("a"), store.encrypted) == (ONE["a"][0], True)


def test_the_password_is_asked_for_once_and_the_vault_opened_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    runs: list[list[str]] = []
    run = subprocess.run
    monkeypatch.setattr(subprocess, "run", lambda command, **k: runs.__iadd__([command]) and run(command, **k))
    vault = Vault(lambda: asked.append(1) or PASSWORD)  # type: ignore[func-returns-value]
    for store in (Store(folder, vault), Store(folder, vault)):
        assert store.key("a") == ONE["a"][1]
        assert store.incomplete == ()
    assert (len(asked), len(runs)) == (1, 1)


def test_a_change_keeps_the_store_in_its_vault(folder: Path) -> None:
    store = Store(folder, _vault())
    store.add({"b": (b"certificate b", b"-----BEGIN PRIVATE KEY----- b")})
    assert (folder / PRIVATE).read_bytes().startswith(HEAD)
    assert Store(folder, _vault()).key("b").endswith(b" b")


def test_a_wrong_password_is_reported_and_changes_nothing(folder: Path) -> None:
    before = {path: path.read_bytes() for path in (folder / INDEX, folder / PRIVATE)}
    store = Store(folder, _vault(b"wrong"))
    with pytest.raises(Failed, match="the vault password is wrong; nothing was changed"):
        store.add({"b": (b"certificate b", b"key b")})
    assert {path: path.read_bytes() for path in before} == before
    assert "b" not in store.entries


def test_a_broken_vault_is_distinguished_from_a_wrong_password(folder: Path) -> None:
    _file(folder / PRIVATE, "$ANSIBLE_VAULT;1.1;AES256\n00\n")
    with pytest.raises(Failed, match="not a whole vault file; nothing was changed; bring it back from its backup"):
        Store(folder, _vault()).key("a")


def test_neither_password_nor_keys_are_in_arguments_or_environment(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    run = subprocess.run
    monkeypatch.setenv("ANSIBLE_VAULT_PASSWORD_FILE", "/nonexistent")

    def watched(command: list[str], **options: object) -> object:
        seen.append(f"{command} {options['env']}")
        return run(command, **options)  # type: ignore[call-overload]

    monkeypatch.setattr(subprocess, "run", watched)
    Store(folder, _vault()).add({"b": (b"certificate b", b"-----BEGIN PRIVATE KEY----- b")})
    assert len(seen) == 2
    assert not [text for text in seen if PASSWORD.decode() in text or "PRIVATE KEY" in text or "/nonexistent" in text]


@pytest.mark.parametrize("into", [True, False], ids=["encrypt", "decrypt"])
def test_a_killed_conversion_leaves_the_old_form(folder: Path, monkeypatch: pytest.MonkeyPatch, into: bool) -> None:
    if into:
        _file(folder / PRIVATE, _vault().opened((folder / PRIVATE).read_bytes(), folder).decode())
    before = (folder / PRIVATE).read_bytes()

    def killed(_path: Path, _target: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        Store(folder, _vault()).recrypt(_vault() if into else None)
    assert (folder / PRIVATE).read_bytes() == before
    assert sorted(p.name for p in (folder / PRIVATE).parent.iterdir()) == ["keys.json"]


def test_the_password_comes_from_a_file_or_a_program(tmp_path: Path) -> None:
    assert password_from(_file(tmp_path / "plain", "pass word\n"))() == b"pass word"
    assert password_from(_file(tmp_path / "program", "#!/bin/sh\necho printed $#\n", 0o755))() == b"printed 0"
    client = _file(tmp_path / "my-client.sh", '#!/bin/sh\necho "$@"\n', 0o700)
    assert password_from(client)() == b"--vault-id kubewright"


@pytest.mark.parametrize(
    ("content", "mode", "words"),
    [("secret", 0o640, "others can read (mode 0640)"), ("\n", 0o600, "an empty password"), ("x" * 5000, 0o600, "more than 4096")],
)
def test_an_unusable_password_file_is_bad_input(tmp_path: Path, content: str, mode: int, words: str) -> None:
    path = _file(tmp_path / "pw", content, mode)
    with pytest.raises(BadInput) as refused:
        password_from(path)()
    assert words in str(refused.value)
    assert "secret" not in str(refused.value).replace("secrets", "")


def test_a_missing_password_file_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no such file"):
        password_from(tmp_path / "none")()


def test_a_failing_password_program_is_reported(tmp_path: Path) -> None:
    with pytest.raises(Failed, match=r"the program for the vault's password failed \(exit 3\)"):
        password_from(_file(tmp_path / "program", "#!/bin/sh\nexit 3\n", 0o700))()


_ASK = "from pki.vault import password_from; print('got', password_from(None)().decode())"


def test_without_a_file_and_a_terminal_the_error_says_what_to_do() -> None:
    done = subprocess.run([sys.executable, "-c", _ASK], capture_output=True, text=True, start_new_session=True, check=False)
    assert done.returncode != 0
    assert "there is no terminal to ask for its password; name a file with secrets.password_file" in done.stderr


def test_a_typed_password_is_not_shown() -> None:
    child, terminal = pty.fork()
    if child == 0:
        os.execv(sys.executable, [sys.executable, "-c", _ASK])  # noqa: S606
    shown = b""
    while b"vault password" not in shown:
        shown += os.read(terminal, 1024)
    os.write(terminal, b"typed\n")
    while b"got" not in shown:
        shown += os.read(terminal, 1024)
    with os.fdopen(terminal, "rb", buffering=0):
        os.waitpid(child, 0)
    assert shown.count(b"typed") <= 1, "once, by the program that printed it"
    assert shown.index(b"got") < shown.find(b"typed") or b"typed" not in shown


CLOSED_LATER = """
import os, types, pki.vault
pki.vault.os = types.SimpleNamespace(**{**vars(os), "close": lambda descriptor: None})
print(pki.vault.Vault(lambda: b"password").sealed(b"content").decode())
"""


def test_the_password_pipe_is_closed_even_with_a_delayed_close() -> None:
    """gevent's os.close waits for its loop, which may be waiting for ansible-vault by then."""
    done = subprocess.run([sys.executable, "-c", CLOSED_LATER], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.encode().startswith(HEAD), done.stderr
