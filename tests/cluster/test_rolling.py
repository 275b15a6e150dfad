"""Rolling changes of a live, highly available cluster, while users write and read without ever trying again."""

from __future__ import annotations

import pytest

from tests.cluster.load import Load
from tests.cluster.waiting import until
from tests.cluster.workloads import Workloads

pytestmark = pytest.mark.cluster

FLAGS = "extra_args: {kube-apiserver: {event-ttl: TTL}, etcd: {max-wals: '6'}, kubelet: {v: '3'}}\n"


def _event_ttl(workloads: Workloads, value: str) -> None:
    """One more flag of etcd, of apiserver and of kubelet, which stays for later tests; or only the apiserver's changes."""
    path = workloads.cluster.inventory / "cluster.yaml"
    path.write_text(path.read_text().partition(FLAGS.partition("TTL")[0])[0] + FLAGS.replace("TTL", value))


def _changed_under(load: Load, workloads: Workloads) -> None:
    with load.running():
        print(workloads.cluster.kubewright("apply").stdout)
        # A fault of a change may appear only some time after the servers are back.
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
def test_five_hundred_requests_a_second_on_open_connections_survive_a_roll_of_apiservers(workloads: Workloads) -> None:
    """The gap of decision 0010: without the drop of traffic some requests fail at every other restart."""
    _event_ttl(workloads, "3h")
    _changed_under(Load(workloads, "crowd", crowd=8), workloads)
