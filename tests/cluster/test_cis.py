"""kube-bench's CIS 1.12 profile with unchanged checks, on every host."""

from __future__ import annotations

import base64
import json
import re
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from kubewright.artifacts import Artifact, Cache, SourceConfig, kube_bench, obtain
from kubewright.artifacts.gomod import machine_arch
from tests.cluster.conftest import KUBEWRIGHT, REPOSITORY, Cluster, run

pytestmark = pytest.mark.cluster

PLACE = "/run/kube-bench"
ROW = re.compile(r"^\| (\d+\.[\d.]+\d) \|", re.MULTILINE)
TARGETS = {True: "master,etcd,controlplane,policies,node", False: "node"}
AUDIT = "/var/log/kubernetes/audit/audit.log"

EVERYWHERE = """
apiVersion: apps/v1
kind: DaemonSet
metadata: {{name: everywhere, namespace: default}}
spec:
  selector: {{matchLabels: {{app: everywhere}}}}
  template:
    metadata: {{labels: {{app: everywhere}}}}
    spec:
      tolerations: [{{operator: Exists}}]
      containers:
      - {{name: pause, image: "{image}", imagePullPolicy: Never, args: [pause]}}
"""


def _send(cluster: Cluster, host: str, program: Artifact, checks: Artifact) -> None:
    """Put kube-bench, its folder of checks and our configuration into a folder that a reboot removes."""
    ssh = (KUBEWRIGHT, "lab", "ssh", "--name", cluster.lab_name, host, "--")
    config = Path(__file__).with_name("kube_bench") / "config.yaml"
    for source, command in (
        (checks.path, f"mkdir -p {PLACE}/cfg && tar -xf - -C {PLACE}/cfg && rm {PLACE}/cfg/config.yaml"),
        (config, f"cat > {PLACE}/config.yaml"),
        (program.path, f"cat > {PLACE}/kube-bench && chmod 0755 {PLACE}/kube-bench"),
    ):
        run("sh", "-c", 'file=$1; shift; exec "$@" < "$file"', "sh", str(source), *ssh, command)


def _results(cluster: Cluster, host: str) -> dict[str, dict[str, Any]]:
    """Each check's result on `host`, by its number."""
    targets = TARGETS[bool(cluster.ssh(host, "ls /etc/systemd/system/kube-apiserver.service", check=False).stdout)]
    said = cluster.ssh(
        host,
        f"export KUBECONFIG=/etc/kubernetes/admin.conf; cd {PLACE} && "
        f"exec ./kube-bench run --config-dir cfg --config config.yaml --benchmark cis-1.12 --targets {targets} --json",
    )
    controls = json.loads(said.stdout)["Controls"]
    return {result["test_number"]: result for c in controls for section in c["tests"] for result in section["results"]}


@pytest.fixture(scope="module")
def found(cluster: Cluster, test_image: str) -> dict[str, dict[str, dict[str, Any]]]:
    """By host, then by the check's number. A pod runs on every host, since some checks look at pods' files."""
    cluster.kubectl("apply", "-f", "-", stdin=EVERYWHERE.format(image=test_image))
    cluster.kubectl("rollout", "status", "daemonset/everywhere", "--timeout=90s")
    program, checks = obtain(kube_bench(machine_arch()), SourceConfig(kind="gomod"), Cache.default(), print)
    hosts = [host.name for host in cluster.lab.hosts]
    for host in hosts:
        _send(cluster, host, program, checks)
    try:
        with ThreadPoolExecutor(len(hosts)) as pool:
            return dict(zip(hosts, pool.map(lambda host: _results(cluster, host), hosts), strict=True))
    finally:
        for host in hosts:
            cluster.ssh(host, f"rm -r {PLACE}")
        cluster.kubectl("delete", "daemonset", "everywhere")


def test_no_check_fails_on_any_host(found: dict[str, dict[str, dict[str, Any]]]) -> None:
    for host, results in found.items():
        totals = Counter(result["status"] for result in results.values())
        print(f"kube-bench cis-1.12 on {host}: {len(results)} checks, {dict(sorted(totals.items()))}")
    assert [
        f"{host} {number}: {result['test_desc']}: {result['actual_value']}"
        for host, results in found.items()
        for number, result in results.items()
        if result["status"] not in ("PASS", "WARN")
    ] == []
    assert {len(results) for results in found.values()} == {131, 25}, "every check of the profile ran"


def test_docs_cis_md_has_a_reason_for_exactly_the_warnings(found: dict[str, dict[str, dict[str, Any]]]) -> None:
    warned = {number for results in found.values() for number, result in results.items() if result["status"] == "WARN"}
    assert warned == set(ROW.findall((REPOSITORY / "docs/cis.md").read_text()))


def test_only_root_can_read_the_audit_log_and_it_has_no_body_of_a_secret(cluster: Cluster) -> None:
    cluster.kubectl("create", "secret", "generic", "audited", "--from-literal=password=AUDIT-SENTINEL")
    try:
        cluster.kubectl("get", "secret", "audited", "-o", "yaml")
    finally:
        cluster.kubectl("delete", "secret", "audited")
    masters = [h.name for h in cluster.lab.hosts if cluster.ssh(h.name, f"test -e {AUDIT}", check=False).returncode == 0]
    lines = [line for host in masters for line in cluster.ssh(host, f"grep audited {AUDIT}", check=False).stdout.splitlines()]
    events = [json.loads(line) for line in lines]
    verbs = {event["verb"] for event in events if event.get("objectRef", {}).get("name") == "audited"}
    assert verbs >= {"create", "get", "delete"}
    assert {event["level"] for event in events} == {"Metadata"}
    in_base64 = base64.b64encode(b"AUDIT-SENTINEL").decode().rstrip("=")
    assert [line for line in lines if "AUDIT-SENTINEL" in line or in_base64 in line] == []
    for host in masters:
        modes = cluster.ssh(host, f"stat -c '%a %U' {AUDIT} {AUDIT.rpartition('/')[0]}").stdout.split("\n")
        assert modes[:2] == ["600 root", "700 root"], host
