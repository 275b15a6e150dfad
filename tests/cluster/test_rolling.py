"""Rolling changes of a live, highly available cluster, while users write and read without ever trying again."""

from __future__ import annotations

import pytest

from tests.cluster.load import Load
from tests.cluster.waiting import until
from tests.cluster.workloads import Workloads

pytestmark = pytest.mark.cluster

FLAGS = "extra_args: {kube-apiserver: {event-ttl: TTL}, etcd: {max-wals: '6'}, kubelet: {v: '3'}}\n"


def _event_ttl(workloads: Workloads, value: str) -> None:
    """One more flag of etcd, of apiserver and of kubelet, kept by the tests that follow; or only the apiserver's changes."""
    path = workloads.cluster.inventory / "cluster.yaml"
    path.write_text(path.read_text().partition(FLAGS.partition("TTL")[0])[0] + FLAGS.replace("TTL", value))


def _changed_under(load: Load, workloads: Workloads) -> None:
    with load.running():
        print(workloads.cluster.kubewright("apply").stdout)
        # What a change has broken may show only when the servers have been back for a while.
        sent = load.probes.sent
        until("some more requests were sent", lambda: load.probes.sent > sent + 50, 60)
    print(load)
    lost = load.lost()
    load.clean()
    assert not load.failures
    assert not lost
    assert not load.together_down()
    assert all(s.down for s in load.apiservers), "nothing was restarted, or the samplers are blind"


def test_a_rolling_change_of_etcd_apiserver_and_kubelet_fails_no_request(workloads: Workloads) -> None:
    _event_ttl(workloads, "2h")
    load = Load(workloads, "rolling")
    _changed_under(load, workloads)
    assert all(s.down for s in load.members), "no member was restarted, or the samplers are blind"


@pytest.mark.soak
def test_of_five_hundred_requests_a_second_on_kept_connections_none_meets_an_apiserver_that_closes(workloads: Workloads) -> None:
    """The gap that decision 0010 is about: without the hold some fail at every other restart."""
    _event_ttl(workloads, "3h")
    _changed_under(Load(workloads, "crowd", crowd=8), workloads)
