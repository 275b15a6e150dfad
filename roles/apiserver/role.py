"""kube-apiserver, one on each master."""

from __future__ import annotations

import math
from dataclasses import replace

from kubewright.model.cluster import Node, Plan
from kubewright.plan.context import Context
from kubewright.plan.desired import Desired, Directory, Unit
from kubewright.plan.role import Client, Folder, Port, Role, on_masters, on_non_masters
from kubewright.plan.tls import API
from pki import encryption
from pki.authorities import ETCD, FRONT_PROXY, KUBERNETES, SERVICE_ACCOUNT
from roles.apiserver import hold
from roles.apiserver.checks import CHECKS
from roles.apiserver.flags import AUDIT_LOGS, AUDIT_POLICY, AUTHENTICATION, flags
from roles.common.gate import CURL, REFUSED, unless_lost

UNIT = "kube-apiserver.service"
STOP_SECONDS = 90
"""After the delay: running requests may take --request-timeout (60 s)."""
_PKI = "/etc/kubernetes/pki"


def ready(address: object, port: int) -> str:
    return f"{CURL} --cacert {_PKI}/ca.crt https://{address}:{port}/readyz"


def _asked(node: Node, *ports: int) -> str:
    return " || ".join(f"{ready(node.address, port)} >/dev/null" for port in dict.fromkeys(ports))


def _gate(context: Context) -> str:
    """Every other apiserver is ready, so that clients can use it.

    Each serves at this apiserver's old port, or, if this run has restarted it, at the planned one.
    """
    plan, node = context.plan, context.node
    used = int(context.observed.configured.get("kube-apiserver secure-port") or plan.api_port)
    others = [n for n in plan.masters if n.name != node.name and n.name not in plan.absent]
    probes = [
        f"{_asked(n, used, plan.api_port)} || {{ echo 'the apiserver of {n.name} ({n.address}) is not ready: "
        f"with {node.name} stopped too, fewer than planned would serve'; exit 1; }}"
        for n in others
    ]
    return "\n".join([unless_lost(ready("127.0.0.1", used), REFUSED), *probes]) if others else ""


def desired(context: Context) -> Desired:
    plan, node = context.plan, context.node
    mine = (UNIT,)
    given = context.flags("kube-apiserver", flags(plan, node))
    # A delay from extra_args may be minutes long, for a slow load balancer before the masters.
    delay = given.get("shutdown-delay-duration", "")
    held, wait = hold.files(context, delay), math.ceil(hold.seconds(delay))
    return Desired(
        directories=(
            Directory(path="/etc/kubernetes/apiserver"),
            Directory(path="/var/log/kubernetes", mode=0o700),
            Directory(path=AUDIT_LOGS, mode=0o700),
        ),
        files=(
            context.authority(KUBERNETES.name, f"{_PKI}/ca.crt", restarts=mine),
            context.authority(FRONT_PROXY.name, f"{_PKI}/front-proxy-ca.crt", restarts=mine),
            context.authority(ETCD.name, f"{_PKI}/etcd-ca.crt", restarts=mine),
            context.authority(SERVICE_ACCOUNT, f"{_PKI}/sa.pub", restarts=mine),
            context.secret(SERVICE_ACCOUNT, f"{_PKI}/sa.key", restarts=mine),
            context.secret(encryption.ROW, encryption.PATH, restarts=mine),
            *context.key_pair("apiserver", restarts=mine),
            *context.key_pair("apiserver-etcd-client", restarts=mine),
            *context.key_pair("apiserver-kubelet-client", restarts=mine),
            *context.key_pair("front-proxy-client", restarts=mine),
            *context.key_pair("admin"),
            context.kubeconfig("/etc/kubernetes/admin.conf", "kubernetes-admin", "admin"),
            context.config(AUTHENTICATION, "apiserver/authentication.yaml.j2", restarts=mine, mode=0o600),
            context.config(AUDIT_POLICY, "apiserver/audit.yaml.j2", restarts=mine, mode=0o600),
            *held,
            context.unit_file(
                UNIT,
                "apiserver/kube-apiserver.service.j2",
                flags=given,
                hold=hold.PATH if held else "",
                table=hold.TABLE,
                stop_seconds=STOP_SECONDS + wait,
            ),
        ),
        links=(context.link("kube-apiserver", restarts=mine), context.link("kubectl")),
        units=(Unit(name=UNIT, gate=_gate(context), ready=ready("127.0.0.1", plan.api_port), timeout=120 + wait),),
    )


def ports(plan: Plan, _node: Node) -> tuple[Port, ...]:
    # From other hosts: administrators, and the load balancers' health checks.
    admins = Client(row="admin", path="/api/v1/secrets?limit=1")
    probes = Client(on=on_non_masters, server_name="kubernetes", path="/readyz")
    tls = replace(API, clients=(*API.clients, admins, probes))
    return (Port(number=plan.api_port, process="kube-apiserver", clients="everyone", tls=tls),)


ROLE = Role(
    name="apiserver",
    runs_on=on_masters,
    after=("etcd_users",),
    binaries=("kube-apiserver", "kubectl"),
    units=(UNIT,),
    one_at_a_time=True,
    folders=(Folder(path="/var/log/kubernetes", holds="data"),),
    paths=(AUDIT_LOGS,),
    desired=desired,
    ports=ports,
    checks=CHECKS,
)
