"""The cluster as its users see it: nodes, workloads, tokens, and kubectl on every master."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from kubewright.artifacts import SourceConfig, obtain_all
from kubewright.artifacts.gomod import machine_arch
from kubewright.releases import DEFAULT
from tests.cluster.conftest import Cluster
from tests.cluster.manifests import NAMESPACE, PORT
from tests.cluster.reach import ask, on
from tests.cluster.waiting import until
from tests.cluster.workloads import CORE, Workloads, condition

pytestmark = pytest.mark.cluster

MASTERS = ("m1", "m2", "m3")
READY_SECONDS = 60
APPS = f"/apis/apps/v1/namespaces/{NAMESPACE}"


def test_every_node_is_ready_at_its_address_and_version(workloads: Workloads) -> None:
    nodes = workloads.api().get("/api/v1/nodes")["items"]
    found = {
        n["metadata"]["name"]: (
            condition(n, "Ready"),
            n["status"]["nodeInfo"]["kubeletVersion"],
            [a["address"] for a in n["status"]["addresses"] if a["type"] == "InternalIP"],
        )
        for n in nodes
    }
    release = workloads.plan.release.kubernetes
    assert found == {n.name: ("True", f"v{release}", [str(n.address)]) for n in workloads.plan.kubelets}
    assert str(release) == "1.37.1" and len(found) == 5


def test_every_etcd_member_is_healthy_over_mutual_tls(workloads: Workloads) -> None:
    authority = workloads.issuer.authority("ca/etcd")
    with on(workloads.lab):
        for member in workloads.plan.etcd_members:
            healthcheck = workloads.issuer.stored(f"etcd-healthcheck-client/{member.name}")
            answer = ask(member.address, 2379, "/health", authority=authority, identity=healthcheck)
            assert answer.status == 200 and answer.json["health"] == "true", f"{member.name}: {answer}"
    assert len(workloads.plan.etcd_members) == 3


def test_every_masters_own_apiserver_is_ready(workloads: Workloads) -> None:
    authority = workloads.issuer.authority("ca/kubernetes")
    with on(workloads.lab):
        answers = {m.name: str(ask(m.address, 6443, "/readyz", authority=authority)) for m in workloads.plan.masters}
    assert answers == dict.fromkeys(MASTERS, "200 ok")


def test_a_pods_environment_names_its_services(workloads: Workloads) -> None:
    service = workloads.api().get(f"{CORE}/services/only-two")["spec"]
    one = workloads.pod("one")
    assert workloads.told(one, "/envvar?var=ONLY_TWO_SERVICE_HOST").text == service["clusterIP"]
    assert workloads.told(one, "/envvar?var=ONLY_TWO_SERVICE_PORT").text == "80"
    assert workloads.told(one, "/envvar?var=KUBERNETES_SERVICE_HOST").text == str(workloads.plan.api_service_address)
    assert workloads.told(one, "/envvar?var=NO_SUCH_SERVICE_HOST").status != 200


def test_a_pods_token_is_authenticated_and_has_only_its_own_rights(workloads: Workloads) -> None:
    """401 without authentication, 403 without rights, 200 with a RoleBinding."""
    one, folder = workloads.pod("one"), "/var/run/secrets/kubernetes.io/serviceaccount"
    token = workloads.shell(one, f"cat {folder}/token")
    authority = workloads.shell(one, f"cat {folder}/ca.crt").encode()

    def status(path: str, bearer: str) -> int:
        # From the pod's host, to the Service's address, verified with the pod's own ca.crt.
        headers = {"Authorization": f"Bearer {bearer}"} if bearer else {}
        with on(workloads.lab, one.host):
            name = f"kubernetes.default.svc.{workloads.plan.domain}"
            return ask(
                workloads.plan.api_service_address, 443, path, authority=authority, server_name=name, headers=headers
            ).status

    assert status(f"{CORE}/pods", "") == 401
    assert status(f"{CORE}/pods", token[:-4] + "AAAA") == 401
    assert status(f"{CORE}/pods", token) == 403
    workloads.cluster.kubectl(
        *f"-n {NAMESPACE} create rolebinding reads --clusterrole=view --serviceaccount={NAMESPACE}:default".split()
    )
    try:
        until("the binding is in force", lambda: status(f"{CORE}/pods", token) == 200, 10)
        assert status(f"{CORE}/secrets", token) == 403
        assert status("/api/v1/namespaces/kube-system/pods", token) == 403
    finally:
        workloads.cluster.kubectl("-n", NAMESPACE, "delete", "rolebinding", "reads")


def test_a_pods_client_reaches_the_api_with_the_token_and_authority_it_was_given(workloads: Workloads) -> None:
    command = "timeout 3 /agnhost inclusterclient --poll-interval=1 2>&1 || true"
    said = workloads.shell(workloads.pod("one"), command)
    assert "calling /healthz" in said and "error" not in said.lower(), said


_ON_A_MASTER = f"""set -eu; export KUBECONFIG=/etc/kubernetes/admin.conf
k="/usr/local/bin/kubectl -n {NAMESPACE}"; t=$(mktemp -d); trap 'kill $f 2>/dev/null || true; rm -rf $t' EXIT
echo "logs=$($k logs two | grep -c 'Started HTTP server')"
echo "exec=$($k exec two -- hostname)"
echo "stdin=$(echo through | $k exec -i two -- cat)"
$k exec two -- sh -c 'exit 7' 2>/dev/null || echo "status=$?"
head -c 300000 /dev/urandom > $t/a
$k cp $t/a two:/tmp/$(hostname) && $k cp two:/tmp/$(hostname) $t/b >/dev/null && cmp $t/a $t/b && echo cp=same
$k port-forward pod/two :{PORT} > $t/said & f=$!
i=0; until port=$(sed -n 's/.*127.0.0.1:\\([0-9]*\\) .*/\\1/p' $t/said) && [ -n "$port" ]; do
  i=$((i+1)); [ $i -lt 100 ] || exit 9; sleep 0.1; done
echo "port-forward=$(curl -sS -m 5 http://127.0.0.1:$port/hostname)"
"""


@pytest.mark.parametrize("master", MASTERS)
def test_logs_exec_cp_and_port_forward_work_from_every_master(workloads: Workloads, master: str) -> None:
    """The apiserver of that master is the kubelet's client: each has a certificate of its own."""
    done = workloads.cluster.ssh(master, _ON_A_MASTER)
    expected = ["logs=1", "exec=two", "stdin=through", "status=7", "cp=same", "port-forward=two"]
    assert done.stdout.split() == expected, f"{done.stdout}\n{done.stderr}"


def _deployment(image: str) -> dict[str, Any]:
    labels = {"app": "rolled"}
    container = {
        "name": "server",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "args": ["netexec", f"--http-port={PORT}"],
        "env": [{"name": "EDITION", "value": "first"}],
        "readinessProbe": {"httpGet": {"path": "/readyz", "port": PORT}, "periodSeconds": 1},
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "rolled"},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"terminationGracePeriodSeconds": 1, "containers": [container]}},
        },
    }


def test_a_deployment_rolls_to_a_new_edition(workloads: Workloads) -> None:
    kubectl, api = workloads.cluster.kubectl, workloads.api()
    api.create(f"{APPS}/deployments", _deployment(workloads.image))
    status = ("-n", NAMESPACE, "rollout", "status", "deployment/rolled", f"--timeout={READY_SECONDS}s")
    try:
        kubectl(*status)
        (old,) = _replica_sets(workloads)
        kubectl("-n", NAMESPACE, "set", "env", "deployment/rolled", "EDITION=second")
        assert "successfully rolled out" in kubectl(*status).stdout

        def settled() -> bool:
            sets = _replica_sets(workloads)
            return len(sets) == 2 and sorted(sets.values()) == [0, 2] and sets[next(iter(old_name))] == 0

        old_name = {old}
        until("the old ReplicaSet is empty, the new one full", settled, READY_SECONDS)
        pods = api.get(f"{CORE}/pods?labelSelector=app%3Drolled")["items"]
        running = [p for p in pods if not p["metadata"].get("deletionTimestamp")]
        assert [p["spec"]["containers"][0]["env"][0]["value"] for p in running] == ["second", "second"]
    finally:
        kubectl("-n", NAMESPACE, "delete", "deployment", "rolled", "--wait=false")


def _replica_sets(workloads: Workloads) -> dict[str, int]:
    items = workloads.api().get(f"{APPS}/replicasets?labelSelector=app%3Drolled")["items"]
    return {i["metadata"]["name"]: i["status"]["replicas"] for i in items}


def _job(image: str, command: str) -> dict[str, Any]:
    container = {"name": "work", "image": image, "imagePullPolicy": "IfNotPresent", "command": ["sh", "-c", command]}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"generateName": "work-"},
        "spec": {
            "backoffLimit": 0,
            "completions": 2,
            "parallelism": 2,
            "template": {"spec": {"restartPolicy": "Never", "containers": [container]}},
        },
    }


@pytest.mark.parametrize(("command", "outcome"), [("echo done", "Complete"), ("exit 1", "Failed")])
def test_a_job_ends_as_its_pods_do(workloads: Workloads, command: str, outcome: str) -> None:
    api, path = workloads.api(), f"/apis/batch/v1/namespaces/{NAMESPACE}/jobs"
    name = api.create(path, _job(workloads.image, command))["metadata"]["name"]
    until(f"the job is {outcome}", lambda: condition(api.get(f"{path}/{name}"), outcome) == "True", READY_SECONDS)
    assert api.get(f"{path}/{name}")["status"].get("succeeded", 0) == (2 if outcome == "Complete" else 0)


_SETTINGS = f"""
apiVersion: v1
kind: ConfigMap
metadata: {{name: settings, namespace: {NAMESPACE}}}
data: {{colour: blue}}
---
apiVersion: v1
kind: Secret
metadata: {{name: pass, namespace: {NAMESPACE}}}
stringData: {{word: mellon}}
---
apiVersion: v1
kind: Pod
metadata: {{name: settled, namespace: {NAMESPACE}, labels: {{app: settled}}}}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - name: server
    image: IMAGE
    imagePullPolicy: IfNotPresent
    args: [netexec, --http-port={PORT}]
    env:
    - {{name: COLOUR, valueFrom: {{configMapKeyRef: {{name: settings, key: colour}}}}}}
    - {{name: WORD, valueFrom: {{secretKeyRef: {{name: pass, key: word}}}}}}
    - {{name: WHERE, valueFrom: {{fieldRef: {{fieldPath: spec.nodeName}}}}}}
    - {{name: HOST, valueFrom: {{fieldRef: {{fieldPath: status.hostIP}}}}}}
    volumeMounts:
    - {{name: settings, mountPath: /given/settings}}
    - {{name: pass, mountPath: /given/pass}}
    - {{name: about, mountPath: /given/about}}
  volumes:
  - {{name: settings, configMap: {{name: settings}}}}
  - {{name: pass, secret: {{secretName: pass}}}}
  - name: about
    downwardAPI:
      items: [{{path: labels, fieldRef: {{fieldPath: metadata.labels}}}}]
"""


def test_configmaps_secrets_and_the_downward_api_reach_a_pod(workloads: Workloads) -> None:
    kubectl = workloads.cluster.kubectl
    kubectl("apply", "-f", "-", stdin=_SETTINGS.replace("IMAGE", workloads.image))
    try:
        kubectl("-n", NAMESPACE, "wait", "--for=condition=Ready", "pod/settled", f"--timeout={READY_SECONDS}s")
        show = "cd /given; echo $COLOUR $WORD $WHERE $HOST; cat settings/colour; echo; cat pass/word; echo; cat about/labels"
        found = kubectl("-n", NAMESPACE, "exec", "settled", "--", "sh", "-c", show).stdout.splitlines()
        pod = json.loads(kubectl("-n", NAMESPACE, "get", "pod", "settled", "-o", "json").stdout)
        node = workloads.plan.node(pod["spec"]["nodeName"])
        assert not node.is_master
        assert found == [f"blue mellon {node.name} {node.address}", "blue", "mellon", 'app="settled"']
    finally:
        kubectl("-n", NAMESPACE, "delete", "pod/settled", "configmap/settings", "secret/pass", "--wait=false")


def test_the_administrators_kubeconfig_is_private_and_works_from_outside(workloads: Workloads, cluster: Cluster) -> None:
    path = cluster.inventory / "admin.kubeconfig"
    assert path.stat().st_mode & 0o777 == 0o600
    binary = obtain_all(DEFAULT, machine_arch(), SourceConfig(), print).binary("kubectl").path
    command = (str(binary), f"--kubeconfig={path}", "--cache-dir=/tmp/kw-kubectl-cache")
    who = json.loads(cluster.exec(*command, "auth", "whoami", "-o", "json").stdout)["status"]["userInfo"]
    assert who["username"] == "kubernetes-admin" and "system:masters" not in who["groups"]
    assert cluster.exec(*command, "auth", "can-i", "*", "*", "--all-namespaces").stdout.strip() == "yes"
    # Its key is not on any host.
    config = path.read_text()
    for master in workloads.plan.masters:
        key = workloads.issuer.store.key(f"admin/{master.name}")
        assert base64.b64encode(key).decode() not in config
