"""Code of controller-manager and scheduler: both are clients of their own apiserver, elect a leader, and serve only
loopback."""

from __future__ import annotations

from kubewright.model.cluster import Flags, Node, Plan
from kubewright.plan.context import Context
from kubewright.plan.desired import File
from kubewright.plan.role import Check, Client, Tls
from kubewright.plan.tls import CIPHER_SUITES
from pki.authorities import KUBERNETES
from roles.common.gate import CURL

_PKI = "/etc/kubernetes/pki"


def kubeconfig_path(name: str) -> str:
    return f"/etc/kubernetes/{name}.conf"


def flags(name: str, port: int) -> Flags:
    """The flags of `name` (`controller-manager`, `scheduler`) that serve and elect."""
    path = kubeconfig_path(name)
    return {
        "authentication-kubeconfig": path,
        "authorization-kubeconfig": path,
        "bind-address": "127.0.0.1",
        "client-ca-file": f"{_PKI}/ca.crt",
        "kubeconfig": path,
        "leader-elect": "true",
        "profiling": "false",
        "requestheader-allowed-names": "front-proxy-client",
        "requestheader-client-ca-file": f"{_PKI}/front-proxy-ca.crt",
        "secure-port": str(port),
        "tls-cert-file": f"{_PKI}/{name}-server.crt",
        "tls-cipher-suites": ",".join(CIPHER_SUITES),
        "tls-min-version": "VersionTLS12",
        "tls-private-key-file": f"{_PKI}/{name}-server.key",
    }


def files(context: Context, name: str, unit: str) -> tuple[File, ...]:
    """Its certificates, its kubeconfig, and the kubeconfig's authority, which clients read only at their start."""
    user = f"system:kube-{name}"
    return (
        context.authority(KUBERNETES.name, f"{_PKI}/ca.crt", restarts=(unit,)),
        *context.key_pair(f"{name}-client", restarts=(unit,)),
        *context.key_pair(f"{name}-server", restarts=(unit,)),
        context.kubeconfig(kubeconfig_path(name), user, f"{name}-client", restarts=(unit,)),
    )


def tls(name: str) -> Tls:
    """Only administrators are their clients."""
    return Tls(
        row=f"{name}-server",
        authority=KUBERNETES.name,
        path="/configz",
        guarded=("/configz", "/metrics", "/", "/statusz", "/flagz", "/healthz/ping", "/debug/pprof/"),
        clients=(Client(row="admin", to="own"),),
    )


def ready(port: int) -> str:
    return f"{CURL} --cacert {_PKI}/ca.crt https://127.0.0.1:{port}/healthz"


def healthy(port: int) -> Check:
    def run(host: object, _plan: Plan, _node: Node) -> None:
        answer = host.run(ready(port))  # type: ignore[attr-defined]
        assert answer.stdout == "ok", f"/healthz: {answer.stdout or answer.stderr}"

    return Check(title="/healthz answers over verified TLS", run=run)
