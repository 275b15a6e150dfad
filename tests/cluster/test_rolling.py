"""Rolling changes of a live, highly available cluster, while users write and read without ever trying again."""

from __future__ import annotations

import pytest

from tests.cluster.load import CLOSING, HAND_OVER, Load
from tests.cluster.waiting import until
from tests.cluster.workloads import Workloads

pytestmark = pytest.mark.cluster

FLAGS = "extra_args: {kube-apiserver: {event-ttl: 2h}, etcd: {max-wals: '6'}, kubelet: {v: '3'}}\n"


def test_a_rolling_change_of_etcd_apiserver_and_kubelet_fails_no_request(workloads: Workloads) -> None:
    """The spec gets one more flag of etcd, of apiserver and of kubelet, and keeps them for the tests that follow."""
    path = workloads.cluster.inventory / "cluster.yaml"
    path.write_text(path.read_text() + FLAGS)
    load = Load(workloads, "rolling")
    with load.running():
        print(workloads.cluster.kubewright("apply").stdout)
        # What a change has broken may show only when the servers have been back for a while.
        sent = load.sent
        until("some more requests were sent", lambda: load.sent > sent + 200, 60)
    print(load)
    lost = load.lost()
    load.clean()
    assert not load.unexplained
    assert len(load.because(HAND_OVER)) <= 4, "one hand-over of etcd's leader costs at most one write of each writer"
    assert len(load.because(CLOSING)) <= 6, "each apiserver closes once, and two writers keep their connections"
    assert not lost
    assert not load.together_down()
    assert all(s.down for s in (*load.apiservers, *load.members)), "nothing was restarted, or the samplers are blind"
