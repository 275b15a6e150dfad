"""`verify` with expired certificates."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

from kubewright.run.session import Session
from kubewright.verbs.verify import _expired
from pki.store import Store
from tests.support.scenarios import filled_store, inventory, scenario


def _session(folder: Path, *, left: str = "") -> Session:
    """A cluster whose certificates were made long ago. `left`: this host is not in cluster.yaml any more."""
    filled_store(scenario("lab").plan, folder, dt.datetime(2016, 1, 1, tzinfo=dt.UTC))
    spec = inventory("lab")
    hosts = tuple(host for host in spec.hosts if host.name != left)
    return Session(inventory=folder, spec=spec.model_copy(update={"hosts": hosts}), roles=())


def test_certificates_of_a_host_that_left_are_no_finding(tmp_path: Path) -> None:
    session = _session(tmp_path, left="w2")
    assert "kubelet-client/w2" in Store(tmp_path).entries, "the record stays"
    checks = [result.check for result in _expired(session)]
    assert "kubelet-client/w1 is valid" in checks
    assert "ca/kubernetes is valid" in checks
    assert not [check for check in checks if "w2" in check]


def test_of_a_host_that_is_there_they_are(tmp_path: Path) -> None:
    assert "kubelet-client/w2 is valid" in [result.check for result in _expired(_session(tmp_path))]
