"""After a run that was killed with a cordoned node, the next run drains the node and uncordons it."""

from __future__ import annotations

import pytest

from tests.cluster.workloads import Workloads

pytestmark = pytest.mark.cluster

NOTE = "kubewright.io/cordoned-by"
RECORD = "/var/lib/kubewright/started/kubelet.service"


def _killed(workloads: Workloads, node: str) -> None:
    """The state after a kill between the restart of a kubelet and the uncordon."""
    workloads.cluster.kubectl("annotate", "node", node, f"{NOTE}=apply")
    workloads.cluster.kubectl("cordon", node)
    workloads.cluster.ssh(node, f"rm {RECORD}")


def _left(workloads: Workloads, node: str) -> tuple[bool, bool]:
    found = workloads.api().get(f"/api/v1/nodes/{node}")
    return bool(found["spec"].get("unschedulable")), NOTE in found["metadata"]["annotations"]


def test_the_next_run_drains_restarts_and_uncordons(workloads: Workloads) -> None:
    _killed(workloads, "m3")
    print(done := workloads.cluster.kubewright("apply").stdout)
    assert "draining m3" in done
    assert _left(workloads, "m3") == (False, False)
    assert workloads.cluster.ssh("m3", f"cat {RECORD}").stdout
    assert "nothing to change" in workloads.cluster.kubewright("plan").stdout


def test_a_pod_without_a_controller_stops_the_drain_and_the_node_is_uncordoned(workloads: Workloads) -> None:
    host = workloads.pod("one").host
    _killed(workloads, host)
    done = workloads.cluster.kubewright("apply", check=False)
    print(done.stdout, done.stderr)
    assert done.returncode == 1
    assert "can't be drained" in done.stdout + done.stderr and "/one" in done.stdout + done.stderr
    assert _left(workloads, host) == (False, False)
    assert workloads.pod("one").host == host
    workloads.cluster.kubewright("apply")
    assert "nothing to change" in workloads.cluster.kubewright("plan").stdout
