"""kubelet: on every host that runs pods. It authenticates its clients by certificate or token, and asks the apiserver for
their rights."""

from __future__ import annotations

from typing import Any

from kubewright.model.cluster import KUBELET_PORT, Node, Plan
from kubewright.plan.context import Context
from kubewright.plan.desired import Desired, File, Unit
from kubewright.plan.role import Check, Client, Folder, Port, Role, Tls, on_kubelets
from kubewright.plan.tls import CIPHER_SUITES
from pki.authorities import KUBERNETES, SERVICE_ACCOUNT
from roles.common.gate import CURL
from roles.common.sysctls import PATH as SYSCTLS
from roles.kubelet.flags import CONFIG, KUBECONFIG, flags
from roles.kubelet.ready import HEALTH, ready, trial

UNIT = "kubelet.service"
SIGNER = "/etc/kubernetes/service-account-signer.pub"
MAX_PODS = 110
"""kubelet's own."""


def _gate(plan: Plan, node: Node) -> str:
    """The API must answer this host: a kubelet that cannot report would count as dead."""
    return (
        f"{CURL} --cacert /etc/kubernetes/pki/ca.crt {plan.local_api}/readyz >/dev/null || "
        f"{{ echo 'the API does not answer {node.name} at {plan.local_api}'; exit 1; }}"
    )


def _max_pods(plan: Plan) -> int | None:
    """None where kubelet's default is right: a subnet's first and last address and the bridge's are not for pods."""
    addresses = 2 ** (32 - plan.pod_prefix_length) - 3
    return addresses if addresses < MAX_PODS else None


def desired(context: Context) -> Desired:
    plan, node, observed = context.plan, context.node, context.observed
    mine = (UNIT,)
    unit = context.unit_file(
        UNIT, "kubelet/kubelet.service.j2", flags=context.flags("kubelet", flags(node)), sysctls=SYSCTLS, runtime=plan.runtime
    )
    link = context.link("kubelet", restarts=mine)
    return Desired(
        files=(
            context.authority(KUBERNETES.name, "/etc/kubernetes/pki/ca.crt", restarts=mine),
            # It caches tokens for pods: when another key signs tokens, it must fetch new ones.
            File(path=SIGNER, content=context.certificates[SERVICE_ACCOUNT].certificate.encode(), restarts=mine),
            *context.key_pair("kubelet-client", restarts=mine),
            *context.key_pair("kubelet-server", restarts=mine),
            context.kubeconfig(KUBECONFIG, f"system:node:{node.name}", "kubelet-client", restarts=mine),
            context.config(
                CONFIG,
                "kubelet/config.yaml.j2",
                restarts=mine,
                mode=0o600,  # CIS 4.1.9
                plan=plan,
                node=node,
                cipher_suites=CIPHER_SUITES,
                cgroup_v1=observed.cgroup == 1,
                max_pods=_max_pods(plan),
                swap=observed.swap,
                resolv_conf=observed.resolv_conf,
                taints=[_taint(t) for t in node.taints],
            ),
            unit,
        ),
        links=(link,),
        units=(
            Unit(
                name=UNIT,
                gate=_gate(plan, node),
                ready=ready(plan, node),
                trial=trial(CONFIG, unit.path, link.path),
                drained=True,
            ),
        ),
    )


def _taint(taint: str) -> dict[str, str]:
    left, _, effect = taint.rpartition(":")
    key, _, value = left.partition("=")
    return {"key": key, "effect": effect, **({"value": value} if value else {})}


TLS = Tls(
    row="kubelet-server",
    authority=KUBERNETES.name,
    path="/pods",
    # It answers 404 for a path that does not exist, before authentication.
    guarded=("/pods", "/healthz", "/metrics", "/stats/summary", "/configz", "/logs/", "/containerLogs/a/b/c"),
    clients=(Client(row="apiserver-kubelet-client"),),
)


def ports(_plan: Plan, _node: Node) -> tuple[Port, ...]:
    return (
        Port(number=KUBELET_PORT, process="kubelet", clients="masters", tls=TLS),
        Port(number=10248, process="kubelet", addresses=("127.0.0.1",)),
    )


def _healthy(host: Any, _plan: Plan, _node: Node) -> None:
    answer = host.run(HEALTH)
    assert answer.stdout == "ok", f"/healthz: {answer.stdout or answer.stderr}"


def _anonymous(host: Any, _plan: Plan, node: Node) -> None:
    curl = "curl -q --noproxy '*' -sS -m 5 --cacert /etc/kubernetes/pki/ca.crt -o /dev/null -w '%{http_code}'"
    answer = host.run(f"{curl} https://{node.address}:{KUBELET_PORT}/pods")
    assert answer.stdout in ("401", "403"), f"a client without a certificate got {answer.stdout or answer.stderr}"


ROLE = Role(
    name="kubelet",
    runs_on=on_kubelets,
    pods_need=True,
    after=("containerd", "rbac", "load_balancer"),
    binaries=("kubelet",),
    units=(UNIT,),
    folders=(
        Folder(path="/var/lib/kubelet", holds="data"),
        Folder(path="/var/log/containers", holds="data"),
        Folder(path="/var/log/pods", holds="data"),
    ),
    desired=desired,
    ports=ports,
    checks=(
        Check(title="/healthz answers", run=_healthy),
        Check(title="a client without a certificate is refused, its server certificate verifies", run=_anonymous),
    ),
)
