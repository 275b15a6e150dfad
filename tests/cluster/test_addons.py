"""Add-ons: a user's folder is applied, changed and pruned; a broken one is named, and the rest holds.

By default about two minutes. Soak, about six minutes more: the built-in add-ons.
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from kubewright.model.build import make_plan
from kubewright.spec import load
from tests.cluster.conftest import Cluster, Done
from tests.cluster.waiting import until

pytestmark = pytest.mark.cluster

NAMESPACE = "addon-demo"
CRD = """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.example.org}
spec:
  group: example.org
  scope: Namespaced
  names: {kind: Widget, plural: widgets, singular: widget}
  versions:
  - name: v1
    served: true
    storage: true
    schema:
      openAPIV3Schema: {type: object, properties: {spec: {type: object, properties: {size: {type: integer}}}}}
"""
WIDGET = """
apiVersion: example.org/v1
kind: Widget
metadata: {name: one, namespace: addon-demo}
spec: {size: 1}
"""
SPACE = """
apiVersion: v1
kind: Namespace
metadata: {name: addon-demo}
"""


def _map(name: str, value: str = "a") -> str:
    return f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}, namespace: {NAMESPACE}}}\ndata: {{key: {value}}}\n"


def _deployment(name: str, image: str, deadline: int = 100) -> str:
    return textwrap.dedent(f"""
        apiVersion: apps/v1
        kind: Deployment
        metadata: {{name: {name}, namespace: {NAMESPACE}}}
        spec:
          progressDeadlineSeconds: {deadline}
          selector: {{matchLabels: {{app: {name}}}}}
          template:
            metadata: {{labels: {{app: {name}}}}}
            spec:
              terminationGracePeriodSeconds: 0
              containers: [{{name: c, image: "{image}", imagePullPolicy: IfNotPresent, args: [pause]}}]
        """)


@dataclass(frozen=True, kw_only=True)
class Site:
    """The inventory, and the folders of manifests in it."""

    cluster: Cluster
    before: str

    def write(self, name: str, *documents: str) -> None:
        folder = self.cluster.inventory / name
        folder.mkdir(exist_ok=True)
        (folder / "all.yaml").write_text("---\n".join(documents))

    def wants(self, *addons: str) -> None:
        (self.cluster.inventory / "cluster.yaml").write_text(f"{self.before}addons: [{', '.join(addons)}]\n")

    def there(self, *words: str) -> bool:
        return bool(self.cluster.kubectl("get", *words, "-n", NAMESPACE, "--ignore-not-found", "-o", "name").stdout)

    def applied(self) -> Done:
        done = self.cluster.kubewright("apply")
        print(done.stdout)
        return done


@pytest.fixture
def site(cluster: Cluster) -> Iterator[Site]:
    path = cluster.inventory / "cluster.yaml"
    before = path.read_text()
    found = Site(cluster=cluster, before=before)
    try:
        yield found
    finally:
        path.write_text(before)
        print(cluster.kubewright("apply").stdout)
        cluster.kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found")
        cluster.kubectl("delete", "crd", "widgets.example.org", "--ignore-not-found")


def test_a_users_folder_is_applied_changed_and_pruned_and_a_broken_one_is_named(site: Site, test_image: str) -> None:
    cluster = site.cluster
    # In one file, in no helpful order.
    site.write("mine", WIDGET, _deployment("web", test_image), _map("first"), _map("taken"), CRD, SPACE)
    site.wants("./mine")
    site.applied()
    assert site.there("widget", "one") and site.there("configmap", "first")
    assert cluster.kubectl("get", "deployment", "web", "-n", NAMESPACE, "-o", "jsonpath={.status.readyReplicas}").stdout == "1"
    assert cluster.kubewright("plan").returncode == 0, "applied, it is a no-op"

    # Somebody else's objects: a new one, and one made again under a name of the add-on's.
    cluster.kubectl("create", "configmap", "theirs", "-n", NAMESPACE, "--from-literal=a=b")
    cluster.kubectl("delete", "configmap", "taken", "-n", NAMESPACE)
    cluster.kubectl("create", "configmap", "taken", "-n", NAMESPACE, "--from-literal=a=b")
    site.write("mine", _deployment("web", test_image), _map("second"), SPACE)
    planned = cluster.kubewright("plan", check=False)
    assert planned.returncode == 2, planned
    for line in (
        "remove Widget.example.org addon-demo/one",
        "remove ConfigMap addon-demo/first",
        "leave CustomResourceDefinition widgets.example.org",
    ):
        assert line in planned.stdout, planned.stdout
    site.applied()
    assert site.there("configmap", "second")
    until("the objects that left the folder are gone", lambda: not site.there("widget", "one"), 30)
    assert not site.there("configmap", "first")
    assert site.there("configmap", "theirs") and site.there("configmap", "taken"), "not its own any more"
    assert site.there("crd", "widgets.example.org"), "its objects may be other people's"
    assert cluster.kubewright("plan").returncode == 0

    # One broken add-on beside one that changes, and one with an object that is somebody else's. The broken one's image is
    # refused at once: nothing listens there.
    site.write("broken", _deployment("broken", "127.0.0.1:1/none:1", 20))
    site.write("mine", _deployment("web", test_image), _map("second", "b"), SPACE)
    site.write("others", _map("theirs"), _map("third"))
    site.wants("./broken", "./mine", "./others")
    failed = cluster.kubewright("apply", check=False)
    said = failed.stdout + failed.stderr
    assert failed.returncode == 1
    assert "add-on broken: Deployment addon-demo/broken is not ready, waited for up to 120 s: broken-" in said, said
    assert "ImagePull" in said, said
    assert "add-on others: ConfigMap addon-demo/theirs is there already and not kubewright's" in said, said
    assert cluster.kubectl("get", "configmap", "theirs", "-n", NAMESPACE, "-o", "jsonpath={.data}").stdout == '{"a":"b"}'
    assert not site.there("configmap", "third"), "nothing of it is applied"
    assert cluster.kubectl("get", "configmap", "second", "-n", NAMESPACE, "-o", "jsonpath={.data.key}").stdout == "b"
    again = cluster.kubewright("plan", check=False)
    assert "add-on broken" in again.stdout and "add-on mine" not in again.stdout, "only the broken one is still due"
    results = json.loads(cluster.kubewright("verify", "--json", check=False).stdout)
    assert {r["role"] for r in results if not r["holds"]} == {"addons"}

    site.wants("./mine")
    site.applied()
    until("the broken one is gone", lambda: not site.there("deployment", "broken"), 30)
    assert site.there("deployment", "web")
    cluster.verified()

    # No add-ons at all.
    (cluster.inventory / "cluster.yaml").write_text(site.before)
    site.applied()
    until("its objects are gone", lambda: not site.there("deployment", "web"), 30)
    assert site.there("namespace", NAMESPACE) and site.there("configmap", "theirs")
    assert cluster.kubewright("plan").returncode == 0


BURN = """
apiVersion: v1
kind: Namespace
metadata: {name: addon-demo}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: burn, namespace: addon-demo}
spec:
  selector: {matchLabels: {app: burn}}
  template:
    metadata: {labels: {app: burn}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
      - name: c
        image: IMAGE
        imagePullPolicy: IfNotPresent
        command: [sh, -c, "trap exit TERM; while :; do if [ -e /tmp/burn ]; then i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; else sleep 1; fi; done"]
        resources: {requests: {cpu: 50m}}
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: burn, namespace: addon-demo}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: burn}
  minReplicas: 1
  maxReplicas: 3
  behavior:
    scaleDown: {stabilizationWindowSeconds: 5}
  metrics:
  - type: Resource
    resource: {name: cpu, target: {type: Utilization, averageUtilization: 80}}
"""  # noqa: E501
CLAIM = """
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: data, namespace: addon-demo}
spec:
  accessModes: [ReadWriteOnce]
  resources: {requests: {storage: 1Mi}}
---
apiVersion: v1
kind: Pod
metadata: {name: writer, namespace: addon-demo}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - name: c
    image: IMAGE
    imagePullPolicy: IfNotPresent
    command: [sh, -c, "echo kept > /data/file; sleep 3600"]
    volumeMounts: [{name: data, mountPath: /data}]
  volumes: [{name: data, persistentVolumeClaim: {claimName: data}}]
"""
WEB = """
apiVersion: v1
kind: Pod
metadata: {name: web, namespace: addon-demo, labels: {app: web}}
spec:
  terminationGracePeriodSeconds: 0
  containers: [{name: c, image: IMAGE, imagePullPolicy: IfNotPresent, args: [netexec, --http-port=8080]}]
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: addon-demo}
spec:
  selector: {app: web}
  ports: [{port: 80, targetPort: 8080}]
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: web, namespace: addon-demo}
spec:
  rules:
  - host: web.example.org
    http:
      paths: [{path: /, pathType: Prefix, backend: {service: {name: web, port: {number: 80}}}}]
"""


@pytest.mark.soak
def test_the_built_in_addons_work(site: Site, test_image: str) -> None:
    cluster = site.cluster
    site.wants("metrics-server", "traefik", "local-path")
    site.applied()
    cluster.verified()
    assert cluster.kubewright("plan").returncode == 0
    plan = make_plan(load(cluster.inventory))
    until("top knows every node", lambda: _tops(cluster) == {node.name for node in plan.kubelets}, 90)

    def replicas() -> str:
        return cluster.kubectl("get", "deployment", "burn", "-n", NAMESPACE, "-o", "jsonpath={.spec.replicas}").stdout

    def pods(action: str) -> None:
        listed = cluster.kubectl("get", "pods", "-n", NAMESPACE, "-l", "app=burn", "-o", "name").stdout.split()
        for pod in listed:
            cluster.kubectl("exec", "-n", NAMESPACE, pod, "--", *action.split(), check=False)

    cluster.kubectl("apply", "-f", "-", stdin=BURN.replace("IMAGE", test_image))
    cluster.kubectl("rollout", "status", "-n", NAMESPACE, "deployment/burn", "--timeout=60s")
    pods("touch /tmp/burn")
    until("it is scaled up", lambda: replicas() in ("2", "3"), 180, pause=3)
    pods("rm -f /tmp/burn")
    until("it is scaled down", lambda: replicas() == "1", 240, pause=3)

    cluster.kubectl("apply", "-f", "-", stdin=(CLAIM + "---" + WEB).replace("IMAGE", test_image))
    for pod in ("writer", "web"):
        cluster.kubectl("wait", "-n", NAMESPACE, "--for=condition=Ready", f"pod/{pod}", "--timeout=120s")
    assert cluster.kubectl("exec", "-n", NAMESPACE, "writer", "--", "cat", "/data/file").stdout == "kept\n"
    volume = cluster.kubectl("get", "pvc", "data", "-n", NAMESPACE, "-o", "jsonpath={.spec.volumeName}").stdout
    node = cluster.kubectl("get", "pod", "writer", "-n", NAMESPACE, "-o", "jsonpath={.spec.nodeName}").stdout
    folders = f"ls /var/lib/local-path | grep -c {volume}"
    assert cluster.ssh(node, folders).stdout == "1\n"
    cluster.kubectl("delete", "-n", NAMESPACE, "pod/writer", "pvc/data")
    until("its folder is removed", lambda: cluster.ssh(node, folders, check=False).stdout == "0\n", 120)

    serving = [n for n in plan.nodes if "traefik" in n.addons]
    assert serving
    ask = "curl -sS -m 5 -H 'Host: web.example.org' http://{}/hostname"
    for each in serving:
        until(f"{each.name} serves", lambda each=each: _asks(cluster, each.name, ask.format(each.address)) == "web", 60)  # type: ignore[misc]

    # Removed, they leave nothing of theirs on hosts.
    Path(cluster.inventory / "cluster.yaml").write_text(site.before)
    site.applied()
    until("the ports are free", lambda: not cluster.ssh(serving[0].name, "ss -Hltn 'sport = :80'").stdout, 60)
    assert not cluster.kubectl("get", "apiservice", "v1beta1.metrics.k8s.io", "--ignore-not-found", "-o", "name").stdout
    assert cluster.kubewright("plan").returncode == 0


def _tops(cluster: Cluster) -> set[str]:
    done = cluster.kubectl("top", "nodes", "--no-headers", check=False)
    return {line.split()[0] for line in done.stdout.splitlines()}


def _asks(cluster: Cluster, host: str, command: str) -> str:
    return cluster.ssh(host, command, check=False).stdout


@pytest.mark.soak
def test_headlamp_is_accepted_by_the_api(site: Site) -> None:
    site.wants("headlamp")
    addon = next(iter(make_plan(load(site.cluster.inventory)).addons))
    assert site.cluster.kubewright("plan", check=False).returncode == 2
    text = addon.text.replace("${image}", "registry.invalid/headlamp:1").replace('"${replicas}"', "1")
    listed = json.dumps({"apiVersion": "v1", "kind": "List", "items": json.loads(text)})
    done = site.cluster.kubectl("apply", "--server-side", "--dry-run=server", "-f", "-", stdin=listed)
    assert len(done.stdout.splitlines()) == len(addon.objects)
