"""Checks of etcd on one of its hosts."""

from __future__ import annotations

import json
from typing import Any

from kubewright.model.cluster import ETCD_CLIENT_PORT, Node, Plan
from kubewright.plan.role import Check

_TLS = "--cacert /etc/etcd/pki/ca.crt --cert /etc/etcd/pki/{name}.crt --key /etc/etcd/pki/{name}.key"
ETCDCTL = f"/usr/local/bin/etcdctl {_TLS.format(name='root')}"


def _healthy(host: Any, plan: Plan, node: Node) -> None:
    answer = host.run(f"{ETCDCTL} --endpoints={','.join(plan.etcd_endpoints)} endpoint health -w json")
    unhealthy = [row["endpoint"] for row in json.loads(answer.stdout or "[]") if not row["health"]]
    assert answer.rc == 0 and not unhealthy, f"unhealthy: {', '.join(unhealthy) or answer.stderr}"


def _members(host: Any, plan: Plan, node: Node) -> None:
    answer = host.run(f"{ETCDCTL} --endpoints=https://127.0.0.1:{ETCD_CLIENT_PORT} member list -w json")
    assert answer.rc == 0, answer.stderr
    names = sorted(m.get("name", "") for m in json.loads(answer.stdout)["members"])
    expected = sorted(n.name for n in plan.etcd_members)
    assert names == expected, f"members are {names}, the spec says {expected}"


def _no_certificate(host: Any, _plan: Plan, node: Node) -> None:
    answer = host.run(f"curl -sS -m 5 --cacert /etc/etcd/pki/ca.crt https://{node.address}:{ETCD_CLIENT_PORT}/version")
    assert answer.rc != 0, "a client without a certificate was answered"


def _authentication(host: Any, _plan: Plan, node: Node) -> None:
    answer = host.run(f"{ETCDCTL} --endpoints=https://127.0.0.1:{ETCD_CLIENT_PORT} auth status -w json")
    assert answer.rc == 0 and json.loads(answer.stdout).get("enabled"), "authentication is not enabled"


CHECKS = (
    Check(title="every member answers over mutual TLS", run=_healthy),
    Check(title="the members are those of the spec", run=_members),
    Check(title="a client without a certificate is refused", run=_no_certificate),
    Check(title="authentication is on", run=_authentication),
)
