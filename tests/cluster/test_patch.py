"""A later patch release, rolled under load: a snapshot first, drained nodes, and no failed request.

It needs another release, whose build takes minutes, and five minutes more: `make soak` runs it (see conftest.py).
"""

from __future__ import annotations

import stat
from collections.abc import Iterator

import pytest

from kubewright.model.build import make_plan
from kubewright.spec import load
from tests.cluster.conftest import Cluster, import_test_image, kubewright, write_inventory
from tests.cluster.load import Load
from tests.cluster.manifests import NAMESPACE, PORT
from tests.cluster.waiting import until
from tests.cluster.workloads import CORE, Workloads, condition

OLD, NEW = "1.37.0", "1.37.1"
LAB_NAME = "patch"

pytestmark = [pytest.mark.cluster, pytest.mark.soak]

# An evicted pod keeps serving until every node knows that it is no endpoint any more.
PEERS = """
apiVersion: apps/v1
kind: Deployment
metadata: {{name: peers, namespace: {namespace}}}
spec:
  replicas: 2
  selector: {{matchLabels: {{group: peers}}}}
  template:
    metadata: {{labels: {{app: peer, group: peers}}}}
    spec:
      terminationGracePeriodSeconds: 10
      affinity:
        podAntiAffinity:
          preferredDuringSchedulingIgnoredDuringExecution:
          - weight: 100
            podAffinityTerm: {{topologyKey: kubernetes.io/hostname, labelSelector: {{matchLabels: {{group: peers}}}}}}
      containers:
      - name: server
        image: {image}
        imagePullPolicy: IfNotPresent
        args: [netexec, --http-port={port}]
        lifecycle: {{preStop: {{sleep: {{seconds: 5}}}}}}
        readinessProbe:
          httpGet: {{path: /readyz, port: {port}}}
          periodSeconds: 1
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {{name: peers, namespace: {namespace}}}
spec: {{minAvailable: 1, selector: {{matchLabels: {{group: peers}}}}}}
"""


@pytest.fixture(scope="module")
def patched(tmp_path_factory: pytest.TempPathFactory, test_image: str) -> Iterator[Workloads]:
    """A cluster of the older release, with the test workloads; the two peers have a controller and a budget."""
    kubewright("lab", "down", "--name", LAB_NAME)
    try:
        kubewright("lab", "up", "--name", LAB_NAME)
        folder = write_inventory(tmp_path_factory.mktemp("patch"), LAB_NAME, extra=f'kubernetes: "{OLD}"\n')
        cluster = Cluster(inventory=folder, lab_name=LAB_NAME)
        print(cluster.kubewright("apply", timeout=2400).stdout)
        import_test_image(cluster)
        found = Workloads(cluster=cluster, plan=make_plan(load(folder)), image=test_image)
        found.deploy()
        cluster.kubectl("delete", "pod", "-n", NAMESPACE, "one", "two")
        cluster.kubectl("apply", "-f", "-", stdin=PEERS.format(namespace=NAMESPACE, image=test_image, port=PORT))
        cluster.kubectl("rollout", "status", "-n", NAMESPACE, "deployment/peers", "--timeout=120s")
        yield found
    finally:
        kubewright("lab", "down", "--name", LAB_NAME)


def test_a_patch_release_is_rolled_drained_and_fails_no_request(patched: Workloads) -> None:
    cluster = patched.cluster
    path = cluster.inventory / "cluster.yaml"
    cluster.kubectl("cordon", "m3")
    path.write_text(path.read_text().replace(OLD, NEW))
    load = Load(patched, "patch")
    with load.running():
        done = cluster.kubewright("apply", check=False, timeout=1200)
        sent = load.probes.sent
        until("some more requests were sent", lambda: load.probes.sent > sent + 50, 60)
    print(done.stdout, done.stderr, load)
    assert done.returncode == 0
    lost = load.lost()
    assert not load.failures
    assert not lost
    assert not load.together_down()
    nodes = {n["metadata"]["name"]: n for n in patched.api().get("/api/v1/nodes")["items"]}
    assert {n["status"]["nodeInfo"]["kubeletVersion"] for n in nodes.values()} == {f"v{NEW}"}
    assert all(condition(n, "Ready") == "True" for n in nodes.values())
    assert [name for name, n in nodes.items() if n["spec"].get("unschedulable")] == ["m3"], "a person cordoned it"
    assert all(f"draining {name}" in done.stdout for name in nodes)
    assert not [name for name, n in nodes.items() if "kubewright.io/cordoned-by" in n["metadata"].get("annotations", {})]
    (snapshot,) = (cluster.inventory / "backups").iterdir()
    assert (stat.S_IMODE(snapshot.stat().st_mode), snapshot.stat().st_size > 100_000) == (0o600, True)
    assert len(patched.api().get(f"{CORE}/pods?labelSelector=group%3Dpeers")["items"]) == 2
    assert "nothing to change" in cluster.kubewright("apply").stdout
