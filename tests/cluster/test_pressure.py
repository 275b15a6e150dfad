"""A kubelet setting with which every node would evict its pods: it reaches one node."""

from __future__ import annotations

import pytest

from tests.cluster.load import Load
from tests.cluster.waiting import until
from tests.cluster.workloads import Workloads, condition

# Five minutes: a kubelet keeps a pressure condition that long after its cause has ended (eviction-pressure-transition-period).
pytestmark = [pytest.mark.cluster, pytest.mark.soak]

EVICTS = 'extra_args: {kubelet: {eviction-hard: "nodefs.available<99%"}}\n'


def _pressed(workloads: Workloads) -> set[str]:
    return {
        n["metadata"]["name"] for n in workloads.api().get("/api/v1/nodes")["items"] if condition(n, "DiskPressure") == "True"
    }


def test_a_kubelet_that_evicts_its_pods_stops_the_roll_at_the_first_node(workloads: Workloads) -> None:
    path = workloads.cluster.inventory / "cluster.yaml"
    before = path.read_text()
    load = Load(workloads, "pressure")
    try:
        assert "extra_args" not in before
        path.write_text(before + EVICTS)
        with load.running():
            failed = workloads.cluster.kubewright("apply", check=False)
            sent = load.probes.sent
            until("some more requests were sent", lambda: load.probes.sent > sent + 25, 60)
        print(failed.stdout, failed.stderr, load)
        assert failed.returncode == 1
        assert "has DiskPressure and evicts pods" in failed.stdout + failed.stderr
        (pressed,) = _pressed(workloads)
        again = workloads.cluster.kubewright("apply", check=False)
        assert again.returncode == 1
        assert _pressed(workloads) == {pressed}, "applied again, it goes no further"
    finally:
        path.write_text(before)
        print(workloads.cluster.kubewright("apply").stdout)
    assert not _pressed(workloads)
    load.clean()
    assert not load.failures
    until("every node has its pod again", lambda: len(workloads.pods()) == len(workloads.plan.kubelets) + 2, 120)
