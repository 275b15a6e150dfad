"""The test workloads on a running cluster, with requests from their own hosts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from kubewright.lab import Lab
from kubewright.model.cluster import Plan
from kubewright.tls.probe import Answer
from pki.store import INDEX
from tests.cluster.identities import Issuer
from tests.cluster.manifests import NAMESPACE, PORT, SERVICES, pods
from tests.cluster.reach import TIMEOUT, Api, ask, on
from tests.cluster.waiting import until

if TYPE_CHECKING:
    from tests.cluster.conftest import Cluster

CORE = f"/api/v1/namespaces/{NAMESPACE}"
READY_SECONDS = 60


@dataclass(frozen=True, kw_only=True)
class Pod:
    name: str
    host: str
    address: IPv4Address


def condition(item: Mapping[str, Any], kind: str) -> str:
    """The status of a condition of a node or pod, empty when it has none."""
    return next((str(c["status"]) for c in item["status"].get("conditions", ()) if c["type"] == kind), "")


@lru_cache(maxsize=2)
def _issuer(folder: Path, _written: int) -> Issuer:
    return Issuer(folder)


@dataclass(frozen=True, kw_only=True)
class Workloads:
    """The workloads of `manifests`, running."""

    cluster: Cluster
    plan: Plan
    image: str

    @property
    def issuer(self) -> Issuer:
        """A client with the inventory's current credentials, like one that rereads them."""
        folder = self.cluster.inventory
        return _issuer(folder, (folder / INDEX).stat().st_mtime_ns)

    @property
    def lab(self) -> Lab:
        return self.cluster.lab

    def api(self, host: str | None = None, timeout: float = TIMEOUT) -> Api:
        """The API with the operator's certificate, from a host's loopback."""
        return Api(
            lab=self.lab,
            host=host or self.plan.masters[0].name,
            authority=self.issuer.authority("ca/kubernetes"),
            identity=self.issuer.operator,
            timeout=timeout,
        )

    def deploy(self) -> None:
        """Create them again, after any leftovers of an earlier session."""
        self.cluster.kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found", "--timeout=120s")
        self.cluster.kubectl("apply", "-f", "-", stdin=SERVICES)
        self.cluster.kubectl("apply", "-f", "-", stdin=pods(self.plan, self.image))
        until("the test workloads are ready", lambda: len(self.pods()) == len(self.plan.kubelets) + 2, READY_SECONDS)

    def pods(self, host: str | None = None) -> tuple[Pod, ...]:
        """The pods that are ready now: their addresses change when their hosts restart."""
        items = self.api(host).get(f"{CORE}/pods?labelSelector={quote('app in (everywhere,one,two)')}")["items"]
        return tuple(
            Pod(name=i["metadata"]["name"], host=i["spec"]["nodeName"], address=IPv4Address(i["status"]["podIP"]))
            for i in items
            if condition(i, "Ready") == "True"
        )

    def pod(self, name: str) -> Pod:
        """`one` or `two`."""
        return next(p for p in self.pods() if p.name == name)

    def everywhere(self) -> tuple[Pod, ...]:
        """One pod per host."""
        return tuple(p for p in self.pods() if p.name.startswith("everywhere"))

    def cluster_ip(self, service: str) -> str:
        return str(self.api().get(f"{CORE}/services/{service}")["spec"]["clusterIP"])

    def told(self, pod: Pod, path: str) -> Answer:
        """A pod's answer to its own host."""
        with on(self.lab, pod.host):
            return ask(pod.address, PORT, path)

    def dialled(
        self,
        pod: Pod,
        target: object,
        port: int,
        *,
        tries: int = 1,
        protocol: str = "http",
        request: str = "hostname",
    ) -> list[str]:
        """The answer of `target` to `pod`; AssertionError, with the reason, when there is none."""
        query = urlencode({"host": target, "port": port, "request": request, "protocol": protocol, "tries": tries})
        answer = self.told(pod, f"/dial?{query}")
        assert answer.status == 200, f"{pod.name} on {pod.host} to {target}:{port}: {answer}"
        assert not answer.json.get("errors"), f"{pod.name} on {pod.host} to {target}:{port}: {answer.json['errors']}"
        return list(answer.json["responses"])

    def shell(self, pod: Pod, command: str) -> str:
        """A command's output, run in the pod by its own server."""
        answer = self.told(pod, f"/shell?{urlencode({'cmd': command})}")
        assert answer.status == 200 and not answer.json.get("error"), f"{command} in {pod.name}: {answer}"
        return str(answer.json["output"])
