"""Checks of the apiserver on one master."""

from __future__ import annotations

import json
from typing import Any

from kubewright.model.cluster import Node, Plan
from kubewright.plan.role import Check

_CURL = "curl -q --noproxy '*' -sS -m 5 --cacert /etc/kubernetes/pki/ca.crt"


def _ready(host: Any, plan: Plan, node: Node) -> None:
    answer = host.run(f"{_CURL} https://{node.address}:{plan.api_port}/readyz")
    assert answer.stdout == "ok", f"/readyz: {answer.stdout or answer.stderr}"


def _version(host: Any, _plan: Plan, node: Node) -> None:
    answer = host.run("/usr/local/bin/kubectl --kubeconfig=/etc/kubernetes/admin.conf version -o json")
    assert f'"gitVersion": "v{node.release.kubernetes}"' in answer.stdout, f"not v{node.release.kubernetes}: {answer.stderr}"


def _anonymous(host: Any, plan: Plan, node: Node) -> None:
    answer = host.run(f"{_CURL} -o /dev/null -w '%{{http_code}}' https://{node.address}:{plan.api_port}/api/v1/namespaces")
    assert answer.stdout in ("401", "403"), f"a client without a certificate got {answer.stdout}"


def _endpoints(host: Any, plan: Plan, _node: Node) -> None:
    """An apiserver maintains the slice `kubernetes`; another slice with the Service's label would send clients elsewhere
    too."""
    kubectl = "/usr/local/bin/kubectl --kubeconfig=/etc/kubernetes/admin.conf --request-timeout=5s"
    answer = host.run(f"{kubectl} -n default get endpointslices -l kubernetes.io/service-name=kubernetes -o json")
    assert answer.rc == 0, f"the API does not tell the Service's endpoints: {answer.stderr.strip()}"
    found = {
        (f"{address}:{port['port']}", item["metadata"]["name"])
        for item in json.loads(answer.stdout)["items"]
        for port in item.get("ports") or ()
        for endpoint in item.get("endpoints") or ()
        for address in endpoint["addresses"]
    }
    wanted = {f"{master.address}:{plan.api_port}" for master in plan.masters}
    strange = sorted(f"{where} (EndpointSlice {name})" for where, name in found if where not in wanted)
    missing = sorted(wanted - {where for where, _ in found})
    assert not strange, (
        f"the Service default/kubernetes leads to {', '.join(strange)}, where no apiserver of this cluster is; "
        "delete the slice, the apiservers write theirs again within 10 s: "
        "kubewright kubectl -i INVENTORY -- -n default delete endpointslice NAME"
    )
    assert not missing, (
        f"the Service default/kubernetes does not lead to {', '.join(missing)}; "
        "look at that master's apiserver: journalctl -u kube-apiserver, and at etcd's checks"
    )


CHECKS = (
    Check(title="/readyz answers over verified TLS", run=_ready),
    Check(title="it runs the version of the spec", run=_version),
    Check(title="a client without a certificate is refused", run=_anonymous),
    Check(title="the kubernetes Service leads to the masters' apiservers only", run=_endpoints),
)
