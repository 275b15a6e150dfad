"""The servers for the network and workload tests: one on every host, and two on known hosts with their own names."""

from __future__ import annotations

from kubewright.model.cluster import Plan

NAMESPACE = "kw-test"
PORT, UDP_PORT = 8080, 8081

# Services come first: a pod's environment names the Services that existed before it.
SERVICES = f"""
apiVersion: v1
kind: Namespace
metadata: {{name: {NAMESPACE}}}
---
apiVersion: v1
kind: Service
metadata: {{name: everywhere, namespace: {NAMESPACE}}}
spec:
  selector: {{app: everywhere}}
  ports:
  - {{name: http, port: 80, targetPort: {PORT}}}
  - {{name: udp, port: 81, targetPort: {UDP_PORT}, protocol: UDP}}
---
# Its only endpoint is the pod `one`.
apiVersion: v1
kind: Service
metadata: {{name: only-one, namespace: {NAMESPACE}}}
spec:
  selector: {{app: one}}
  ports: [{{port: 80, targetPort: {PORT}}}]
---
# Its only endpoint is the pod `two`: every other host has none of its own.
apiVersion: v1
kind: Service
metadata: {{name: only-two, namespace: {NAMESPACE}}}
spec:
  type: NodePort
  selector: {{app: two}}
  ports: [{{port: 80, targetPort: {PORT}}}]
---
# Two replicas, on different workers.
apiVersion: v1
kind: Service
metadata: {{name: both, namespace: {NAMESPACE}}}
spec:
  selector: {{group: peers}}
  ports: [{{port: 80, targetPort: {PORT}}}]
---
apiVersion: v1
kind: Service
metadata: {{name: peers, namespace: {NAMESPACE}}}
spec:
  clusterIP: None
  selector: {{group: peers}}
  ports: [{{port: {PORT}}}]
---
apiVersion: v1
kind: Secret
metadata: {{name: sealed, namespace: {NAMESPACE}}}
stringData: {{word: swordfish}}
"""


def _container(image: str) -> str:
    return f"""
      - name: server
        image: {image}
        imagePullPolicy: IfNotPresent
        args: [netexec, --http-port={PORT}, --udp-port={UDP_PORT}]
        readinessProbe:
          httpGet: {{path: /readyz, port: {PORT}}}
          periodSeconds: 1"""


def _peer(name: str, host: str, image: str, volumes: str) -> str:
    return f"""
---
apiVersion: v1
kind: Pod
metadata:
  name: {name}
  namespace: {NAMESPACE}
  labels: {{app: {name}, group: peers}}
spec:
      nodeName: {host}
      hostname: {name}
      subdomain: peers
      terminationGracePeriodSeconds: 1
      containers:{_container(image)}{volumes}"""


_SEALED = """
        volumeMounts: [{name: sealed, mountPath: /sealed}]
      volumes:
      - {name: sealed, secret: {secretName: sealed}}"""


def pods(plan: Plan, image: str) -> str:
    """`everywhere` on each host; `one` and `two` on different workers, the Secret `sealed` mounted by `two` only."""
    first, second = (n.name for n in plan.nodes if n.is_worker and not n.is_master)
    everywhere = f"""
apiVersion: apps/v1
kind: DaemonSet
metadata: {{name: everywhere, namespace: {NAMESPACE}}}
spec:
  selector: {{matchLabels: {{app: everywhere}}}}
  template:
    metadata: {{labels: {{app: everywhere}}}}
    spec:
      tolerations: [{{operator: Exists}}]
      terminationGracePeriodSeconds: 1
      containers:{_container(image)}"""
    return everywhere + _peer("one", first, image, "") + _peer("two", second, image, _SEALED)
