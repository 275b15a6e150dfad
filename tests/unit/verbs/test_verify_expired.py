"""`verify` with expired certificates."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

from kubewright.run.run import Run
from kubewright.verbs.verify import _expired
from pki.store import Store
from tests.support.scenarios import filled_store, inventory, scenario


def _run(folder: Path, *, left: str = "") -> Run:
    """A cluster with old certificates. `left`: a host that is no longer in cluster.yaml."""
    filled_store(scenario("lab").plan, folder, dt.datetime(2016, 1, 1, tzinfo=dt.UTC))
    spec = inventory("lab")
    hosts = tuple(host for host in spec.hosts if host.name != left)
    return Run(inventory=folder, spec=spec.model_copy(update={"hosts": hosts}), roles=())


def test_certificates_of_a_removed_host_are_no_finding(tmp_path: Path) -> None:
    run = _run(tmp_path, left="w2")
    assert "kubelet-client/w2" in Store(tmp_path).entries, "the record stays"
    checks = [result.check for result in _expired(run)]
    assert "kubelet-client/w1 is valid" in checks
    assert "ca/kubernetes is valid" in checks
    assert not [check for check in checks if "w2" in check]


def test_certificates_of_a_present_host_are_findings(tmp_path: Path) -> None:
    assert "kubelet-client/w2 is valid" in [result.check for result in _expired(_run(tmp_path))]
