"""What must hold of the apiserver on one master."""

from __future__ import annotations

from typing import Any

from kubewright.plan.model import Node, Plan
from kubewright.plan.role import Check

_CURL = "curl -q --noproxy '*' -sS -m 5 --cacert /etc/kubernetes/pki/ca.crt"


def _ready(host: Any, plan: Plan, node: Node) -> None:
    answer = host.run(f"{_CURL} https://{node.address}:{plan.api_port}/readyz")
    assert answer.stdout == "ok", f"/readyz: {answer.stdout or answer.stderr}"


def _version(host: Any, plan: Plan, _node: Node) -> None:
    answer = host.run("/usr/local/bin/kubectl --kubeconfig=/etc/kubernetes/admin.conf version -o json")
    assert f'"gitVersion": "v{plan.release.kubernetes}"' in answer.stdout, f"not v{plan.release.kubernetes}: {answer.stderr}"


def _anonymous(host: Any, plan: Plan, node: Node) -> None:
    answer = host.run(f"{_CURL} -o /dev/null -w '%{{http_code}}' https://{node.address}:{plan.api_port}/api/v1/namespaces")
    assert answer.stdout in ("401", "403"), f"a client without a certificate got {answer.stdout}"


CHECKS = (
    Check(title="/readyz answers over verified TLS", run=_ready),
    Check(title="it runs the version of the spec", run=_version),
    Check(title="a client without a certificate is refused", run=_anonymous),
)
