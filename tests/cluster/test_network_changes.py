"""Changes of the pods' network on a live cluster: flannel's backends and kube-proxy's modes, with requests between all pods.

One master and two workers, each with a pod. The tests depend on each other, in this order. About three minutes.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator

import pytest

from kubewright import lab
from kubewright.model.build import make_plan
from kubewright.spec import load
from tests.cluster.conftest import KUBEWRIGHT, Cluster, import_test_image, kubewright, write_inventory
from tests.cluster.killing import converged
from tests.cluster.manifests import NAMESPACE, PORT
from tests.cluster.reach import ask, on
from tests.cluster.waiting import until
from tests.cluster.workloads import Workloads

pytestmark = pytest.mark.cluster

NAME = "network"
HOSTS = """hosts:
  - {name: m1, address: 10.90.0.11, roles: [master]}
  - {name: w1, address: 10.90.0.21, roles: [worker]}
  - {name: w2, address: 10.90.0.22, roles: [worker]}
"""
EXTERNAL = "10.90.0.250"
"""No host's address."""
SERVICE = f"""
apiVersion: v1
kind: Service
metadata: {{name: external, namespace: {NAMESPACE}}}
spec:
  selector: {{app: everywhere}}
  externalIPs: [{EXTERNAL}]
  ports: [{{port: 80, targetPort: {PORT}}}]
"""
# `timeout`, since Debian's static busybox crashes on wget's own -T.
_ASK = f"""rm -rf /tmp/asking; mkdir -p /tmp/asking; (while [ ! -e /tmp/asking/stop ]; do for a in ADDRESSES; do
if timeout 30 wget -q -O /dev/null "http://$a:{PORT}/hostname"; then echo "$a" >> /tmp/asking/sent
else echo "$a" >> /tmp/asking/failed; fi; done; sleep 0.1; done; touch /tmp/asking/over) > /dev/null 2>&1 & echo begun"""


@pytest.fixture(scope="module")
def networked(tmp_path_factory: pytest.TempPathFactory, test_image: str) -> Iterator[Workloads]:
    lab_of = ("--name", NAME)
    kubewright("lab", "down", *lab_of)
    try:
        kubewright("lab", "up", *lab_of, "--hosts", "m1,w1,w2")
        folder = write_inventory(tmp_path_factory.mktemp("inventory"), NAME, HOSTS, "api: {external_ips: true}\n")
        found = Cluster(inventory=folder, lab_name=NAME)
        found.kubewright("apply")
        import_test_image(found)
        workloads = Workloads(cluster=found, plan=make_plan(load(folder)), image=test_image)
        workloads.deploy()
        found.kubectl("apply", "-f", "-", stdin=SERVICE)
        yield workloads
    finally:
        kubewright("lab", "down", *lab_of)


def _set(cluster: Cluster, network: str) -> None:
    """The spec with these settings of `network`."""
    path = cluster.inventory / "cluster.yaml"
    path.write_text(f"{path.read_text().partition('network:')[0]}network: {network}\n")


@contextlib.contextmanager
def asking(workloads: Workloads) -> Iterator[None]:
    """Each pod asks the pods of all other hosts without a pause during the block. No request may fail, and each pair has
    requests before and after the block's work."""
    pods = workloads.everywhere()
    assert len(pods) == len(workloads.plan.kubelets)
    for pod in pods:
        others = " ".join(str(other.address) for other in pods if other != pod)
        workloads.shell(pod, _ASK.replace("ADDRESSES", others))

    def sent() -> dict[tuple[str, str], int]:
        found = {pod: workloads.shell(pod, "cat /tmp/asking/sent 2>/dev/null; echo").split() for pod in pods}
        return {(a.host, b.host): found[a].count(str(b.address)) for a in pods for b in pods if a != b}

    until("every pod has an answer from every other", lambda: all(sent().values()), 60)
    yield
    after = sent()
    until("every pod has another answer from every other", lambda: all(n > after[pair] for pair, n in sent().items()), 60)
    failed = {}
    for pod in pods:
        workloads.shell(pod, "touch /tmp/asking/stop; echo")
        until("its requests are over", lambda pod=pod: "over" in workloads.shell(pod, "ls /tmp/asking"), 120)  # type: ignore[misc]
        failed[pod.host] = workloads.shell(pod, "cat /tmp/asking/failed 2>/dev/null; echo").split()
    print(f"{sum(sent().values())} requests between {len(after)} pairs of hosts; failed: {failed}")
    assert not any(failed.values()), failed


def _everyone_reaches_everyone(workloads: Workloads) -> bool:
    pods = workloads.everywhere()
    for source in pods:
        for target in pods:
            assert workloads.dialled(source, target.address, PORT) == [target.name]
    return True


def _killed_half_way(cluster: Cluster) -> None:
    """An apply, killed once flannel of the first host has changed."""
    command = [KUBEWRIGHT, "apply", "-i", str(cluster.inventory)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout is not None
        said = []
        for line in process.stdout:
            said.append(line)
            if line.split()[:1] == ["flannel"]:
                os.kill(process.pid, signal.SIGKILL)
                return
        raise AssertionError(f"flannel did not change: {said}")


_ROUTES = "ip -4 route show | grep ^10.244; ip -o link show flannel.1 2>/dev/null; systemctl is-active kubewright-pod-routes"


def _carries(cluster: Cluster, backend: str) -> None:
    """Each host's routes are flannel's own, and nothing of the change or of the other backend is left."""
    for host in cluster.lab.hosts:
        said = cluster.ssh(host.name, _ROUTES, check=False).stdout
        assert ("flannel.1" in said) == (backend == "vxlan"), said
        assert "proto 117" not in said and "inactive" in said, said
        assert said.count(" via 10.90.0.") == (2 if backend == "host-gw" else 0), said


def _backend(workloads: Workloads, backend: str) -> None:
    cluster = workloads.cluster
    _carries(cluster, backend)
    _everyone_reaches_everyone(workloads)
    converged(cluster)


def test_vxlan_to_host_gw_killed_half_way_and_resumed_cuts_off_no_pod(networked: Workloads) -> None:
    cluster = networked.cluster
    _carries(cluster, "vxlan")
    _set(cluster, "{backend: host-gw}")
    planned = cluster.kubewright("plan", check=False).stdout
    assert "rolling: cluster.yaml network.backend: another backend (vxlan -> host-gw)" in planned
    assert "restart flanneld.service because of network.backend" in planned
    with asking(networked):
        _killed_half_way(cluster)
        _everyone_reaches_everyone(networked)
        cluster.kubewright("apply")
    _backend(networked, "host-gw")


def test_host_gw_to_vxlan_cuts_off_no_pod(networked: Workloads) -> None:
    _set(networked.cluster, "{backend: vxlan}")
    with asking(networked):
        networked.cluster.kubewright("apply")
    _backend(networked, "vxlan")


def test_a_change_put_back_half_way_after_a_host_restarted_cuts_off_no_other_pod(networked: Workloads) -> None:
    cluster = networked.cluster
    _set(cluster, "{backend: host-gw}")
    with asking(networked):
        _killed_half_way(cluster)
    cluster.stop("w2")
    cluster.start("w2")
    # flannel of w2 has read the new backend by itself; m1's or w1's has the old one.
    until("the pods are back", lambda: len(networked.everywhere()) == 3, 120)
    until("their network too", lambda: _everyone_reaches_everyone(networked), 120)
    _set(cluster, "{backend: vxlan}")
    with asking(networked):
        cluster.kubewright("apply")
    _backend(networked, "vxlan")


def _external(workloads: Workloads) -> None:
    """The Service answers at its external address, to a pod and to each host."""
    names = {pod.name for pod in workloads.everywhere()}
    for pod in workloads.everywhere():
        until("the external address answers a pod", lambda pod=pod: names >= set(workloads.dialled(pod, EXTERNAL, 80)), 30)  # type: ignore[misc]
        with on(workloads.lab, pod.host):
            assert ask(EXTERNAL, 80, "/hostname").body.decode() in names


def _rules(cluster: Cluster, host: lab.LabHost) -> tuple[bool, bool]:
    """Whether the host has kube-proxy's rules in iptables, and in nftables."""
    iptables = cluster.ssh(host.name, "iptables-save | grep -c -e KUBE-SVC -e KUBE-SERVICES", check=False).stdout.strip()
    nftables = cluster.ssh(host.name, "nft list tables | grep -c 'table ip kube-proxy'", check=False).stdout.strip()
    return iptables != "0", nftables != "0"


@pytest.mark.parametrize(("mode", "rules"), [("nftables", (False, True)), ("iptables", (True, False))])
def test_each_mode_of_kube_proxy_carries_services_and_external_addresses_and_leaves_no_old_rules(
    networked: Workloads, mode: str, rules: tuple[bool, bool]
) -> None:
    cluster = networked.cluster
    _external(networked)
    _set(cluster, f"{{proxy_mode: {mode}}}")
    with asking(networked):
        cluster.kubewright("apply")
    for host in cluster.lab.hosts:
        until(f"{host.name} has rules of {mode} only", lambda host=host: _rules(cluster, host) == rules, 60)  # type: ignore[misc]
    _external(networked)
    _everyone_reaches_everyone(networked)
    converged(cluster)
