"""A headless Service that each `verify` makes and removes: DNS that still watches the API knows its names at once.

It is in kube-system, where users' policies seldom apply, and selects nothing. Its label names the run.
"""

from __future__ import annotations

import datetime as dt
import json
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from kubewright.model.cluster import Plan
from kubewright.plan.role import Fixture, on_masters

KUBECTL = "/usr/local/bin/kubectl --kubeconfig=/etc/kubernetes/admin.conf --request-timeout=4s -n kube-system"
LABEL = "kubewright.io/verify"
ADDRESS = "192.0.2.1"
"""Of TEST-NET-1 (RFC 5737): no host has them."""
HOSTNAMES = tuple(f"h{number}" for number in range(6))
"""One name for each try: CoreDNS caches that a name does not exist, and kube2sky writes it a moment later."""
_LEFTOVER = dt.timedelta(minutes=10)
_KINDS = "services,endpointslices.discovery.k8s.io"


@dataclass(frozen=True, kw_only=True)
class News:
    """The Service's names, which only DNS with a live watch knows, and the DNS pods that should know them."""

    names: tuple[str, ...]
    pods: Mapping[str, str]
    """By address: the pod and its node, for messages."""


def manifest(name: str) -> str:
    # kube-proxy ignores Services with the last label, so its rules stay unchanged [kubernetes: cmd/kube-proxy/app/server.go].
    labels = {
        LABEL: name,
        "kubernetes.io/service-name": f"kubewright-verify-{name}",
        "service.kubernetes.io/headless": "",
    }
    metadata = {"name": f"kubewright-verify-{name}", "namespace": "kube-system", "labels": labels}
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata,
        "spec": {"clusterIP": "None", "ports": [{"name": "any", "port": 9, "protocol": "TCP"}]},
    }
    endpoints = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": metadata,
        "addressType": "IPv4",
        "ports": [{"name": "any", "port": 9, "protocol": "TCP"}],
        "endpoints": [{"addresses": [ADDRESS], "hostname": hostname} for hostname in HOSTNAMES],
    }
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": [service, endpoints]})


def _make(hosts: Mapping[str, Any], plan: Plan, name: str) -> News:
    items = json.loads(
        _first(
            hosts,
            f"printf %s {shlex.quote(manifest(name))} | {KUBECTL} apply -f - >/dev/null && {KUBECTL} get {_KINDS} -o json",
            "no master could make a Service for the DNS checks",
        )
    )["items"]
    if old := leftovers(items, name):
        _delete(hosts, old)
    suffix = f"kubewright-verify-{name}.kube-system.svc.{plan.domain}"
    return News(names=tuple(f"{h}.{suffix}" for h in HOSTNAMES), pods=dns_pods(items))


def _remove(hosts: Mapping[str, Any], _plan: Plan, name: str) -> None:
    _delete(hosts, [name])


def _delete(hosts: Mapping[str, Any], names: Iterable[str]) -> None:
    which = f"{LABEL} in ({','.join(names)})"
    _first(
        hosts,
        f"{KUBECTL} delete {_KINDS} -l {shlex.quote(which)} --wait=false >/dev/null",
        f"the Service of this check is left in kube-system (label {LABEL}), and the next verify that reaches the API removes it",
    )


def _first(hosts: Mapping[str, Any], script: str, what: str) -> str:
    """The output of `script` on the first master where it succeeds. AssertionError with every master's error when there is
    none."""
    reasons = []
    for name, host in hosts.items():
        answer = host.run(script)
        if answer.rc == 0:
            return str(answer.stdout)
        reasons.append(f"{name}: {' '.join(answer.stderr.split())[-200:]}")
    raise AssertionError(f"{what} ({'; '.join(reasons) or 'no master answers'}); repair the API first")


def leftovers(items: Iterable[Mapping[str, Any]], name: str) -> list[str]:
    """The finished runs whose Services still exist. The API's own clock measures their age."""
    born: dict[str, dt.datetime] = {}
    for metadata in (item["metadata"] for item in items):
        if run := metadata.get("labels", {}).get(LABEL):
            born[run] = dt.datetime.fromisoformat(metadata["creationTimestamp"])
    return sorted(run for run, at in born.items() if run != name and at < born[name] - _LEFTOVER)


def dns_pods(items: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """The addresses behind the DNS Service, with pod and node."""
    slices = [
        i for i in items
        if i["kind"] == "EndpointSlice" and i["metadata"].get("labels", {}).get("kubernetes.io/service-name") == "kube-dns"
    ]  # fmt: skip
    endpoints = [e for s in slices for e in s.get("endpoints") or () if e.get("conditions", {}).get("ready", True)]
    return {e["addresses"][0]: f"{e.get('targetRef', {}).get('name', '?')} on {e.get('nodeName', '?')}" for e in endpoints}


NEWS = Fixture(title="a new Service for the DNS checks is made and removed", on=on_masters, make=_make, remove=_remove)
