"""A live cluster goes to another release and back under load: no failed request, wherever the command is killed.

On the shared cluster: what stands in the way is told, and nothing is changed; half a minute. The moves themselves need builds of
other releases and about 20 minutes each: `make soak` runs them (see conftest.py).
"""

from __future__ import annotations

import json
import stat
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from kubewright.model.build import make_plan
from kubewright.releases import DEFAULT, release_for
from kubewright.spec import load
from tests.cluster.conftest import KUBEWRIGHT, Cluster, import_test_image, kubewright, write_inventory
from tests.cluster.load import Load
from tests.cluster.manifests import NAMESPACE, PORT
from tests.cluster.waiting import until
from tests.cluster.workloads import CORE, Workloads, condition

LAB_NAME = "upgrade"
OLD, NEW = "1.36.3", "1.37.1"

pytestmark = [pytest.mark.cluster]
soak = pytest.mark.soak

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
IN_THE_WAY = """
apiVersion: v1
kind: Pod
metadata: {{name: alone, namespace: {namespace}, labels: {{group: alone}}}}
spec:
  terminationGracePeriodSeconds: 1
  containers: [{{name: server, image: {image}, imagePullPolicy: IfNotPresent, args: [pause]}}]
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {{name: alone, namespace: {namespace}}}
spec: {{minAvailable: 1, selector: {{matchLabels: {{group: alone}}}}}}
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingWebhookConfiguration
metadata: {{name: down}}
webhooks:
- name: down.example.org
  failurePolicy: Fail
  sideEffects: None
  admissionReviewVersions: [v1]
  clientConfig: {{service: {{namespace: {namespace}, name: nobody}}}}
  rules: [{{apiGroups: [example.org], apiVersions: [v1], operations: [CREATE], resources: [widgets]}}]
"""


# -- on the shared cluster, which runs the default release


def test_what_runs_where_is_told(cluster: Cluster) -> None:
    done = cluster.kubewright("upgrade", "--status", "--to", DEFAULT.kubernetes, "--json")
    said = json.loads(done.stdout)
    assert said["left"] == []
    hosts = ["m1", "m2", "m3", "w1", "w2"]
    assert said["running"]["kubelet"] == {DEFAULT.kubernetes: hosts}
    assert said["running"]["etcd"] == {DEFAULT.etcd: hosts[:3]}
    assert said["running"]["kube-apiserver"] == {DEFAULT.kubernetes: hosts[:3]}


def test_a_cluster_of_that_release_has_nothing_to_change(cluster: Cluster, workloads: Workloads) -> None:
    done = cluster.kubewright("upgrade", "--to", DEFAULT.kubernetes)
    assert "nothing to change" in done.stdout
    assert "not known" not in done.stdout, "every question about budgets, webhooks and CRDs was answered"


def test_an_earlier_release_is_refused_and_rollback_named(cluster: Cluster) -> None:
    done = cluster.kubewright("upgrade", "--to", OLD, check=False)
    assert done.returncode == 3
    assert f"kube-apiserver runs {NEW}, which is later than {OLD}" in done.stdout + done.stderr
    assert "kubewright rollback" in done.stdout + done.stderr


def test_a_cluster_that_was_never_upgraded_has_no_way_back_but_the_snapshot(cluster: Cluster) -> None:
    done = cluster.kubewright("rollback", "--yes", check=False)
    assert done.returncode == 1 and "no rollback" in done.stdout + done.stderr


def test_a_budget_and_a_webhook_in_the_way_are_named_together(cluster: Cluster, workloads: Workloads) -> None:
    text = IN_THE_WAY.format(namespace=NAMESPACE, image=workloads.image)
    cluster.kubectl("apply", "-f", "-", stdin=text)
    try:
        cluster.kubectl("wait", "-n", NAMESPACE, "--for=condition=Ready", "pod/alone", "--timeout=60s")

        def told() -> bool:
            done = cluster.kubewright("upgrade", "--to", DEFAULT.kubernetes, "--plan", check=False)
            said = done.stdout + done.stderr
            assert done.returncode == 1, said
            return (
                f"PodDisruptionBudget {NAMESPACE}/alone: it allows no eviction: it wants 1 healthy pods, and has 1 of 1" in said
                and "ValidatingWebhookConfiguration down down.example.org: it fails closed" in said
                and f"its Service {NAMESPACE}/nobody has no ready endpoint" in said
            )

        until("the budget counts its pod", told, 60)
    finally:
        cluster.kubectl("delete", "--wait=false", "-f", "-", stdin=text)


# -- moves


@contextmanager
def _of_release(folder: Path, release: str, image: str) -> Iterator[Workloads]:
    """A cluster of that release, with the test workloads; the two peers have a controller and a budget."""
    kubewright("lab", "down", "--name", LAB_NAME)
    try:
        kubewright("lab", "up", "--name", LAB_NAME)
        inventory = write_inventory(folder, LAB_NAME, extra=f'kubernetes: "{release}"\n')
        cluster = Cluster(inventory=inventory, lab_name=LAB_NAME)
        print(cluster.kubewright("apply", timeout=3600).stdout)
        import_test_image(cluster)
        found = Workloads(cluster=cluster, plan=make_plan(load(inventory)), image=image)
        found.deploy()
        cluster.kubectl("delete", "pod", "-n", NAMESPACE, "one", "two")
        cluster.kubectl("apply", "-f", "-", stdin=PEERS.format(namespace=NAMESPACE, image=image, port=PORT))
        cluster.kubectl("rollout", "status", "-n", NAMESPACE, "deployment/peers", "--timeout=120s")
        yield found
    finally:
        kubewright("lab", "down", "--name", LAB_NAME)


UP = ("binaries", "etcd", "apiserver", "controller_manager", "kubelet")
BACK = ("kubelet", "controller_manager", "apiserver", "etcd")
"""By role, the moments at which a move is killed: just after its first host has changed."""


def _killed(cluster: Cluster, words: tuple[str, ...], role: str) -> bool:
    """Run the command, and SIGKILL it once the first host has that role. False: it ended before, with success."""
    command = [KUBEWRIGHT, words[0], "-i", str(cluster.inventory), *words[1:], "--yes"]
    said: list[str] = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            said.append(line)
            if line.split()[:1] == [role] and "changes," in line:
                process.kill()
                return True
        assert process.wait() == 0, "".join(said)
    return False


def _move(cluster: Cluster, *words: str) -> str:
    done = cluster.kubewright(words[0], *words[1:], "--yes", check=False, timeout=2400)
    print(done.stdout, done.stderr)
    assert done.returncode == 0
    return done.stdout


def _runs(workloads: Workloads, release: str) -> None:
    """Everything runs that release, cluster.yaml names it, apply agrees, and no node is left aside."""
    cluster = workloads.cluster
    wanted = release_for(release)
    said = json.loads(cluster.kubewright("upgrade", "--status", "--json", "--to", release).stdout)
    assert said["left"] == []
    assert {v for name, found in said["running"].items() for v in found if name != "etcd"} == {release}
    assert set(said["running"]["etcd"]) == {wanted.etcd}
    assert load(cluster.inventory).kubernetes == release
    nodes = {n["metadata"]["name"]: n for n in workloads.api().get("/api/v1/nodes")["items"]}
    assert all(condition(n, "Ready") == "True" for n in nodes.values())
    assert [name for name, n in nodes.items() if n["spec"].get("unschedulable")] == ["m3"], "a person cordoned it"
    assert not [name for name, n in nodes.items() if "kubewright.io/cordoned-by" in n["metadata"].get("annotations", {})]
    assert len(workloads.api().get(f"{CORE}/pods?labelSelector=group%3Dpeers")["items"]) == 2
    assert "nothing to change" in cluster.kubewright("apply").stdout


def _under_load(workloads: Workloads, title: str, work: Callable[[], None]) -> None:
    found = Load(workloads, title)
    with found.running():
        work()
        sent = found.probes.sent
        until("some more requests were sent", lambda: found.probes.sent > sent + 50, 60)
    print(found)
    assert not found.failures
    assert not found.lost()
    assert not found.together_down()
    found.clean()


@soak
def test_a_minor_release_up_and_back_killed_at_each_wave_fails_no_request(tmp_path: Path, test_image: str) -> None:
    """1.36.3 -> 1.37.1, etcd 3.6 -> 3.7 with it; back from the middle, to the end, back from the end, and up once more."""
    with _of_release(tmp_path / "inventory", OLD, test_image) as workloads:
        cluster, kills = workloads.cluster, list[str]()
        cluster.kubectl("cordon", "m3")
        up = ("upgrade", "--to", NEW)

        def half() -> None:
            assert _killed(cluster, up, "apiserver"), "it ended before the kill"
            refused = cluster.kubewright("apply", check=False)
            assert refused.returncode == 3 and "kubewright upgrade --to" in refused.stdout + refused.stderr
            _move(cluster, "rollback", "--to", OLD)

        def end() -> None:
            kills.extend(role for role in UP if _killed(cluster, up, role))
            _move(cluster, *up)

        def back() -> None:
            kills.extend(role for role in BACK if _killed(cluster, ("rollback", "--to", OLD), role))
            _move(cluster, "rollback", "--to", OLD)

        _under_load(workloads, "half", half)
        _runs(workloads, OLD)
        _under_load(workloads, "end", end)
        _runs(workloads, NEW)
        cluster.verified()
        _under_load(workloads, "back", back)
        _runs(workloads, OLD)
        _under_load(workloads, "again", lambda: print(_move(cluster, *up)))
        _runs(workloads, NEW)
        cluster.verified()
        print(f"killed after the first host of: {', '.join(kills)}")
        assert len(kills) >= len(UP) + len(BACK) - 2
        snapshots = list((cluster.inventory / "backups").iterdir())
        assert snapshots and all(stat.S_IMODE(s.stat().st_mode) == 0o600 and s.stat().st_size > 100_000 for s in snapshots)


@soak
@pytest.mark.parametrize(("old", "new"), [("1.35.4", "1.36.3"), ("1.37.0", "1.37.1")], ids=["a minor release", "a patch release"])
def test_another_release_fails_no_request(old: str, new: str, tmp_path: Path, test_image: str) -> None:
    with _of_release(tmp_path / "inventory", old, test_image) as workloads:
        workloads.cluster.kubectl("cordon", "m3")
        _under_load(workloads, "move", lambda: print(_move(workloads.cluster, "upgrade", "--to", new)))
        _runs(workloads, new)
        workloads.cluster.verified()


@soak
def test_pods_that_do_not_leave_stop_the_upgrade_and_their_node_takes_pods(tmp_path: Path, test_image: str) -> None:
    """A budget is added after the checks: only the drain meets it."""
    with _of_release(tmp_path / "inventory", "1.37.0", test_image) as workloads:
        cluster = workloads.cluster
        assert _killed(cluster, ("upgrade", "--to", NEW), "apiserver")
        _budget(cluster, 2, "0")
        refused = cluster.kubewright("upgrade", "--to", NEW, "--yes", "--pod-eviction-timeout", "20", check=False, timeout=900)
        said = refused.stdout + refused.stderr
        assert refused.returncode == 1 and f"PodDisruptionBudget {NAMESPACE}/peers: it allows no eviction" in said
        _budget(cluster, 1, "1")
        _move(cluster, "upgrade", "--to", NEW)
        assert NEW in cluster.kubewright("upgrade", "--status").stdout


def _budget(cluster: Cluster, least: int, allowed: str) -> None:
    cluster.kubectl("patch", "-n", NAMESPACE, "pdb/peers", "-p", f'{{"spec": {{"minAvailable": {least}}}}}')
    ask = ("get", "pdb", "peers", "-n", NAMESPACE, "-o", "jsonpath={.status.disruptionsAllowed}")
    until(f"the budget allows {allowed}", lambda: cluster.kubectl(*ask).stdout == allowed, 60)
