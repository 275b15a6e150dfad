"""docs/ports.md, made from the roles: `python -m deploy.ports_page > docs/ports.md`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from deploy.waves import ROLES
from kubewright.model.build import make_plan
from kubewright.model.cluster import SKYDNS, Node, Plan
from kubewright.plan.role import Port
from kubewright.releases.addons import BUILT_IN
from kubewright.spec import ClusterSpec

_HEAD = """# Ports

Made from the roles (`Role.ports`); a test compares them. With firewalld, kubewright opens exactly these ports, each to the hosts
in *from* and to no other. With another firewall, open them yourself; preflight names each TCP port that a host can't reach.

*From*: **masters**, **etcd** and **kubelets** are the hosts of those kinds in `cluster.yaml`; a kubelet runs on every master and
worker. **their pods**: the addresses of `network.pods`; a pod comes with its own address to the host that it runs on.
**anywhere**: people and other machines may connect. **itself**: nothing but the host itself connects; do not open it.
SSH (TCP 22, or `ssh.port`) must be open to the machine that runs kubewright.
"""
_KINDS = (
    ("Masters", "m1", "etcd runs on them too, unless hosts have the role `etcd`: then the table of etcd hosts is theirs."),
    ("Workers", "w1", ""),
    ("Hosts of etcd alone", "e1", ""),
)
_FROM = {"everyone": "all hosts of the cluster, and their pods", "outside": "anywhere", None: "itself"}
_SPEC = {
    "name": "ports",
    "addons": ["metrics-server", "traefik"],
    "hosts": [
        {"name": "e1", "address": "192.0.2.21", "roles": ["etcd"]},
        {"name": "m1", "address": "192.0.2.11", "roles": ["master"]},
        {"name": "w1", "address": "192.0.2.31", "roles": ["worker"]},
    ],
}


def _plan(backend: str) -> Plan:
    network = {"backend": backend, "dns_provider": SKYDNS}
    return make_plan(ClusterSpec.model_validate({**_SPEC, "network": network}, context={"folder": Path()}))


def _ports(plan: Plan, node: Node, backend: str) -> Iterator[tuple[Port, str]]:
    """Each port with what listens. A socket of the kernel has no process: the role is named."""
    for role in (role for role in ROLES if role.runs_on(node)):
        for port in role.ports(plan, node):
            only = " (add-on)" if port.process in BUILT_IN else ""
            only = f" (`dns_provider: {SKYDNS}`)" if role.name == "kube2sky" else only
            yield port, f"{port.process}{only}" if port.process else f"{role.name} (`backend: {backend}`)"


def _bound(port: Port, node: Node) -> str:
    return ", ".join("its address" if at == str(node.address) else at for at in port.addresses) or "all addresses"


def _row(port: Port, process: str, node: Node) -> str:
    source = "itself" if port.clients is None else _FROM.get(port.clients, port.clients)
    tls = "yes" if port.tls else ""
    return f"| {port.number} | {port.protocol.upper()} | {process} | {source} | {_bound(port, node)} | {tls} |\n"


def _table(name: str) -> str:
    found: dict[tuple[int, str], tuple[Port, str]] = {}
    for backend in ("vxlan", "wireguard"):
        plan = _plan(backend=backend)
        for port, process in _ports(plan, plan.node(name), backend):
            found.setdefault((port.number, port.protocol), (port, process))
    rows = sorted(found.values(), key=lambda row: (row[0].clients is None, row[0].number))
    head = "| port | protocol | process | from | listens on | mutual TLS |\n|---|---|---|---|---|---|\n"
    return head + "".join(_row(port, process, plan.node(name)) for port, process in rows)


def page() -> str:
    """The whole page."""
    parts = [_HEAD]
    for title, name, note in _KINDS:
        parts.append(f"\n## {title}\n\n{f'{note}{chr(10)}{chr(10)}' if note else ''}{_table(name)}")
    return "".join(parts)


if __name__ == "__main__":
    print(page(), end="")
