"""Rolling changes of a live, highly available cluster, while users write and read without ever trying again."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.cluster.load import Load
from tests.cluster.waiting import until
from tests.cluster.workloads import Workloads

pytestmark = pytest.mark.cluster

FLAGS = "extra_args: {kube-apiserver: {event-ttl: 2h}, etcd: {max-wals: '6'}, kubelet: {v: '3'}}\n"


@pytest.fixture
def with_flags(workloads: Workloads) -> Iterator[None]:
    """The spec with one more flag of etcd, of apiserver and of kubelet; as it was before at the end, the hosts too."""
    path = workloads.cluster.inventory / "cluster.yaml"
    before = path.read_text()
    path.write_text(before + FLAGS)
    try:
        yield
    finally:
        path.write_text(before)
        workloads.cluster.kubewright("apply")


def test_a_rolling_change_of_etcd_apiserver_and_kubelet_fails_no_request(workloads: Workloads, with_flags: None) -> None:
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
    assert len(load.failures) <= 4, "one hand-over of etcd's leader costs at most one write of each writer"
    assert not lost
    assert not load.together_down()
    assert all(s.down for s in (*load.apiservers, *load.members)), "nothing was restarted, or the samplers are blind"
