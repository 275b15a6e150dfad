"""Workgroups: what cluster.yaml says is kept by the API, for people with their own kubeconfigs. Costs about a minute; shares
`cluster`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from kubewright.artifacts import SourceConfig, obtain_all
from kubewright.artifacts.gomod import machine_arch
from kubewright.releases import DEFAULT
from kubewright.spec import load
from tests.cluster.conftest import Cluster, Done, kubewright, run
from tests.cluster.reach import on
from tests.cluster.waiting import until

pytestmark = pytest.mark.cluster

TEAM, OTHERS = "kw-team", "kw-team-others"
WORKGROUPS = f"""
workgroups:
- name: {TEAM}
  pod_security: restricted
  quota: {{pods: 2, requests.cpu: 200m}}
  limits: {{default: {{cpu: 200m}}, default_request: {{cpu: 10m}}, max: {{cpu: 300m}}}}
  people: {{kw-dora: edit}}
- name: {OTHERS}
"""


@dataclass(frozen=True, kw_only=True)
class Team:
    cluster: Cluster
    config: Path
    kubectl: str

    def ask(self, *words: str, stdin: str | None = None) -> Done:
        """kubectl with the person's kubeconfig."""
        with on(self.cluster.lab):
            cache = f"--cache-dir={self.config.parent}/cache"
            return run(self.kubectl, f"--kubeconfig={self.config}", cache, *words, stdin=stdin, check=False)


@pytest.fixture(scope="module")
def team(cluster: Cluster, test_image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Team]:
    """Two workgroups, and a person of the first; cluster.yaml is as before in the end."""
    path = cluster.inventory / "cluster.yaml"
    before = path.read_text()
    kubectl = str(obtain_all(DEFAULT, machine_arch(), SourceConfig(), print).binary("kubectl").path)
    config = tmp_path_factory.mktemp("people") / "dora.kubeconfig"
    path.write_text(before + WORKGROUPS)
    try:
        cluster.kubewright("apply")
        # cluster.yaml alone gives the rights.
        kubewright("user", "add", "kw-dora", "--inventory", str(cluster.inventory), "--output", str(config))
        yield Team(cluster=cluster, config=config, kubectl=kubectl)
    finally:
        kubewright("user", "revoke", "kw-dora", "--inventory", str(cluster.inventory), check=False)
        path.write_text(before)
        cluster.kubewright("apply")
        cluster.kubectl("delete", "namespace", TEAM, OTHERS, "--ignore-not-found", "--wait=false")


def _pod(image: str, name: str, cpu: str = "", run_as: int = 65534) -> str:
    security = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    security |= {"runAsNonRoot": bool(run_as), "runAsUser": run_as, "seccompProfile": {"type": "RuntimeDefault"}}
    container = {"name": "c", "image": image, "args": ["pause"], "securityContext": security}
    container |= {"resources": {"limits": {"cpu": cpu}}} if cpu else {}
    spec = {"containers": [container], "terminationGracePeriodSeconds": 1}
    return json.dumps({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec})


def test_quota_limits_and_pod_security_hold_for_a_person_in_their_own_context(team: Team, test_image: str) -> None:
    def create(pod: str) -> Done:
        return team.ask("create", "-f", "-", stdin=pod)

    assert create(_pod(test_image, "one")).returncode == 0
    resources = json.loads(team.ask("get", "pod", "one", "-o", "json").stdout)["spec"]["containers"][0]["resources"]
    assert resources == {"limits": {"cpu": "200m"}, "requests": {"cpu": "10m"}}
    until("the pod runs", lambda: team.ask("get", "pod", "one", "-o", "jsonpath={.status.phase}").stdout == "Running", 60)
    refused = {
        "root": (create(_pod(test_image, "root", run_as=0)), 'violates PodSecurity "restricted:latest"'),
        "greedy": (create(_pod(test_image, "greedy", cpu="400m")), "maximum cpu usage per Container is 300m"),
        "quota": (create(_pod(test_image, "two", cpu="300m")), "exceeded quota: workgroup"),
    }
    for name, (done, said) in refused.items():
        assert done.returncode != 0 and said in done.stderr, (name, done)
    assert team.ask("delete", "pod", "one").returncode == 0


def test_a_persons_context_works_in_its_namespace_and_nowhere_else(team: Team) -> None:
    name = load(team.cluster.inventory).name
    contexts = YAML(typ="safe").load(team.config)["contexts"]
    assert [(one["name"], one["context"]["namespace"]) for one in contexts] == [(f"{TEAM}@{name}", TEAM)]
    assert team.ask("get", "pods").returncode == 0
    assert team.ask("create", "configmap", "mine").returncode == 0
    for words in (
        ("get", "pods", "-n", OTHERS),
        ("get", "pods", "-n", "default"),
        ("delete", "resourcequota", "workgroup"),
        ("create", "rolebinding", "more", "--clusterrole=admin", "--user=kw-dora"),
        ("label", "namespace", TEAM, "pod-security.kubernetes.io/enforce=privileged", "--overwrite"),
    ):
        done = team.ask(*words)
        assert done.returncode != 0 and "forbidden" in done.stderr.lower(), (words, done)
    admin = YAML(typ="safe").load(team.cluster.inventory / "admin.kubeconfig")
    assert [one["name"] for one in admin["contexts"]][1:] == [f"{TEAM}@{name}", f"{OTHERS}@{name}"]
    results = json.loads(team.cluster.kubewright("verify", "--json", check=False).stdout)
    assert [result for result in results if result["role"] == "workgroups" and not result["holds"]] == []


def test_a_workgroup_that_leaves_cluster_yaml_keeps_its_namespace_and_loses_roles_and_quota(team: Team) -> None:
    path = team.cluster.inventory / "cluster.yaml"
    path.write_text(path.read_text().replace(WORKGROUPS, f"\nworkgroups: [{{name: {OTHERS}}}]\n"))
    planned = team.cluster.kubewright("plan", check=False).stdout
    assert f"remove ResourceQuota {TEAM}/workgroup" in planned
    assert f"namespace {TEAM} was a workgroup's; it stays" in planned
    assert f"delete namespace {TEAM}" in planned
    team.cluster.kubewright("apply")
    until("her rights are gone", lambda: "forbidden" in team.ask("get", "pods").stderr.lower(), 30)
    left = team.cluster.kubectl("-n", TEAM, "get", "configmap,resourcequota,limitrange,rolebinding", "-o", "name").stdout.split()
    assert "configmap/mine" in left and not [one for one in left if "workgroup" in one]
    assert "nothing to change" in team.cluster.kubewright("plan").stdout
