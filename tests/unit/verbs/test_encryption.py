"""What a rotation of the encryption key does on the live cluster in each stage: hosts and etcd are stand-ins here."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from kubewright.errors import Failed
from kubewright.hosts.remote import Answer
from kubewright.run.journal import history
from kubewright.run.session import Session
from kubewright.spec import load
from kubewright.verbs.rotate import encryption as engine
from kubewright.verbs.rotate.encryption import ATTEMPTS, EncryptionKey
from pki import encryption
from pki.stages import Stage
from pki.store import Store

SPEC = "name: prod\nhosts:\n  - {name: m1, address: 192.0.2.11, roles: [master, worker]}\n"
NOW = dt.datetime(2026, 11, 21, 10, 0, tzinfo=dt.UTC)


@dataclass
class Etcd:
    """What it answers, one after another; the last again and again. `rewritten` counts."""

    answers: list[dict[str, tuple[str, ...]]]
    rewritten: int = 0
    refused: str = ""
    fails: bool = False
    said: list[str] = field(default_factory=list)

    def stored(self, _run: object) -> dict[str, tuple[str, ...]]:
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]

    def first(self, _run: object, _nodes: object, script: str) -> tuple[str, Answer]:
        assert script == engine._REWRITE
        self.rewritten += 1
        if self.fails:
            raise Failed("m1: no API")
        return "m1", Answer(status=0, stdout=self.refused, stderr="")


@pytest.fixture
def key(tmp_path: Path) -> EncryptionKey:
    """At the stage in which Secrets are rewritten."""
    store = Store(tmp_path)
    encryption.issue(store, NOW, serving=False)
    encryption.advance(store, Stage.SETTLED, NOW)
    encryption.advance(store, Stage.INTRODUCED, NOW)
    (tmp_path / "cluster.yaml").write_text(SPEC)
    session = Session(inventory=tmp_path, spec=load(tmp_path), roles=(), verb=engine.VERB, lasting=True)
    return EncryptionKey(session=session)


def _there(key: EncryptionKey) -> tuple[str, str]:
    """The names of the new and of the old key."""
    new, old, _ = encryption.providers(Store(key.session.inventory).entries).names
    return new, old


def _with(monkeypatch: pytest.MonkeyPatch, etcd: Etcd) -> None:
    monkeypatch.setattr(engine, "_stored", etcd.stored)
    monkeypatch.setattr(engine, "_first", etcd.first)


def test_secrets_are_rewritten_until_etcd_shows_none_under_the_old_key(
    key: EncryptionKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    new, old = _there(key)
    etcd = Etcd([{old: ("a/b", "a/c")}, {new: ("a/b",), old: ("a/c",)}, {new: ("a/b", "a/c")}])
    _with(monkeypatch, etcd)
    key.prove(Stage.SWITCHED)
    assert etcd.rewritten == 2
    key.session.end()
    changes = [(run.verb, run.outcome, run.changes, run.hosts) for run in history(key.session.inventory)]
    assert changes == [("encryption rotate", "done", 2, ("m1",))], "one run, however often"


def test_what_stays_under_the_old_key_is_named_and_the_stage_kept(key: EncryptionKey, monkeypatch: pytest.MonkeyPatch) -> None:
    new, old = _there(key)
    etcd = Etcd([{new: ("a/b",), old: ("a/c",), encryption.IDENTITY: ("a/plain",)}])
    _with(monkeypatch, etcd)
    with pytest.raises(Failed, match=f"2 Secrets are not encrypted with {new}: a/c, a/plain; run the same command again"):
        key.prove(Stage.SWITCHED)
    assert etcd.rewritten == ATTEMPTS
    assert key.stage() is Stage.SWITCHED


def test_why_secrets_were_not_rewritten_is_told(key: EncryptionKey, monkeypatch: pytest.MonkeyPatch) -> None:
    _, old = _there(key)
    _with(monkeypatch, Etcd([{old: ("a/c",)}], refused="Forbidden c\nConflict d\nForbidden c\n"))
    with pytest.raises(Failed, match="the apiserver refused, of the last attempt: Forbidden c, Conflict d; run the same command"):
        key.prove(Stage.SWITCHED)


def test_a_rewriting_that_fails_ends_in_the_journal_too(key: EncryptionKey, monkeypatch: pytest.MonkeyPatch) -> None:
    _, old = _there(key)
    _with(monkeypatch, Etcd([{old: ("a/c",)}], fails=True))
    with pytest.raises(Failed, match="no API") as failed:
        key.prove(Stage.SWITCHED)
    key.session.end(failed.value)
    assert [(run.outcome, run.error) for run in history(key.session.inventory)] == [("failed", "m1: no API")]


@pytest.mark.parametrize("stage", [Stage.INTRODUCED, Stage.RETIRED])
def test_no_secret_is_touched_in_another_stage(key: EncryptionKey, monkeypatch: pytest.MonkeyPatch, stage: Stage) -> None:
    monkeypatch.setattr(engine, "_first", None)
    key.prove(stage)


def test_hosts_that_do_not_answer_are_named_with_their_reasons() -> None:
    problem = SimpleNamespace(where="m1", what="does not answer over SSH")
    run: Any = SimpleNamespace(unreachable=[problem], remotes={})
    with pytest.raises(Failed, match="m1: does not answer over SSH; see kubewright verify"):
        engine._first(run, [SimpleNamespace(name="m1")], "true")  # type: ignore[list-item]
