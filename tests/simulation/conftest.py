"""One seed can be replayed: `pytest tests/simulation --seed N`. Runs see no network, no clock of their own, no disk's delay."""

from __future__ import annotations

import datetime as dt
import itertools
from types import SimpleNamespace

import pytest
from cryptography import x509

from kubewright.run import journal, session
from kubewright.run import run as engine
from pki import decisions
from pki.store import Entry
from tests.simulation.clusters import bundle


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--seed", type=int, help="replay one seed of the simulation and print what happened")
    parser.addoption("--seeds", help="other seeds than the usual ones: FIRST:COUNT")


_DECIDED: dict[tuple[object, ...], tuple[decisions.Verdict, str]] = {}
_decide_leaf = decisions._decide_leaf


def decided(
    leaf: decisions.Leaf, entry: Entry | None, authority: x509.Certificate | None, policy: decisions.Policy, now: dt.datetime
) -> tuple[decisions.Verdict, str]:
    """Pure, and slow: the decisions about certificates are cached."""
    key = (leaf, entry, authority, policy, now.date())
    if key not in _DECIDED:
        _DECIDED[key] = _decide_leaf(leaf, entry, authority, policy, now)
    return _DECIDED[key]


@pytest.fixture(autouse=True)
def _in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = itertools.count()
    monkeypatch.setattr("kubewright.run.snapshot.take", lambda _run, _failed: None)
    monkeypatch.setattr("kubewright.run.etcd_version.PAUSE", 0)
    monkeypatch.setattr(engine, "obtain_all", lambda release, *_a, **_k: bundle(release))
    monkeypatch.setattr(session, "new_id", lambda: f"run-{next(numbers):04}")
    monkeypatch.setattr(journal, "os", SimpleNamespace(fsync=lambda _descriptor: None))
    monkeypatch.setattr(decisions, "_decide_leaf", decided)
