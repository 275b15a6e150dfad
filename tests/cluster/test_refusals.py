"""Refusals that `verify --tls` (test_tls.py) does not try: tokens, proxies' claims, nodes' rights, writes to etcd.

Refused means: etcd ends the handshake; apiserver, kubelet, controller-manager and scheduler answer 401 or 403.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from kubewright.artifacts import SourceConfig, obtain_all
from kubewright.artifacts.gomod import machine_arch
from kubewright.model.cluster import (
    CONTROLLER_MANAGER_PORT,
    ETCD_CLIENT_PORT,
    ETCD_PEER_PORT,
    KUBELET_PORT,
    SCHEDULER_PORT,
    Node,
    Plan,
)
from kubewright.releases import DEFAULT
from kubewright.tls.probe import Answer
from pki.authorities import ETCD, FRONT_PROXY, KUBERNETES
from pki.identities import Identity
from tests.cluster.conftest import Done
from tests.cluster.identities import ADMIN, Issuer, files
from tests.cluster.manifests import NAMESPACE
from tests.cluster.reach import ask, on
from tests.cluster.workloads import Workloads

pytestmark = pytest.mark.cluster

API_PORT = 6443
TLS_VERSIONS = (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)
"""In 1.3 a server checks the client's certificate after the client has finished its handshake; in 1.2 before."""


@dataclass(frozen=True, kw_only=True)
class Edge:
    """One port, on every host that serves it."""

    title: str
    port: int
    paths: tuple[str, ...]
    """Paths for every identity; the right one may read the first."""
    authority: str
    right: tuple[str, ...]
    """An accepted name, and its organizations."""
    loopback: bool = False
    """Whether it listens only there."""

    @property
    def is_etcd(self) -> bool:
        return self.authority == ETCD.name

    def nodes(self, plan: Plan) -> tuple[Node, ...]:
        if self.port == KUBELET_PORT:
            return plan.kubelets
        return plan.etcd_members if self.is_etcd else plan.masters

    def ask(
        self,
        workloads: Workloads,
        node: Node,
        identity: Identity | None,
        *,
        path: str = "",
        plain: bool = False,
        highest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3,
    ) -> Answer:
        """A request to this edge of `node`, from beside the hosts, or from the host itself where only that is answered."""
        with on(workloads.lab, node.name if self.loopback else None):
            return ask(
                "127.0.0.1" if self.loopback else node.address,
                self.port,
                path or self.paths[0],
                authority=None if plain else workloads.issuer.authority(self.authority),
                identity=identity,
                highest=highest,
            )


_PROFILING = "/debug/pprof/"
_LEADER_PATHS = ("/metrics", "/configz", "/", "/statusz", "/flagz", "/healthz/ping", _PROFILING)
EDGES = (
    Edge(title="etcd-clients", port=ETCD_CLIENT_PORT, paths=("/version",), authority=ETCD.name, right=("root",)),
    Edge(title="etcd-peers", port=ETCD_PEER_PORT, paths=("/version",), authority=ETCD.name, right=("kube-etcd-peer",)),
    Edge(
        title="apiserver",
        port=API_PORT,
        paths=("/api/v1/secrets", "/", "/api", "/apis", "/version", "/healthz", "/metrics", "/openapi/v2", "/readyz/etcd"),
        authority=KUBERNETES.name,
        right=ADMIN,
    ),
    Edge(
        title="kubelet",
        port=KUBELET_PORT,
        # It answers 404 for a path that does not exist, before authentication.
        paths=("/pods", "/healthz", "/metrics", "/stats/summary", "/configz", "/logs/", "/containerLogs/a/b/c"),
        authority=KUBERNETES.name,
        right=ADMIN,
    ),
    Edge(
        title="controller-manager",
        port=CONTROLLER_MANAGER_PORT,
        paths=_LEADER_PATHS,
        authority=KUBERNETES.name,
        right=ADMIN,
        loopback=True,
    ),
    Edge(title="scheduler", port=SCHEDULER_PORT, paths=_LEADER_PATHS, authority=KUBERNETES.name, right=ADMIN, loopback=True),
)
edges = pytest.mark.parametrize("edge", EDGES, ids=lambda edge: edge.title)


def _attempts(workloads: Workloads, edge: Edge, identities: tuple[Identity | None, ...]) -> Iterator[tuple[str, Answer]]:
    """Each identity on each host, path and, where the handshake decides, TLS version."""
    for node in edge.nodes(workloads.plan):
        for identity in identities:
            for path in edge.paths:
                for version in TLS_VERSIONS if edge.is_etcd else TLS_VERSIONS[-1:]:
                    what = f"{edge.title} of {node.name}{path} {version.name} with {identity.title if identity else 'none'}"
                    yield what, edge.ask(workloads, node, identity, path=path, highest=version)


def _served(workloads: Workloads, edge: Edge) -> list[str]:
    """Hosts on which the right certificate is refused."""
    identity = workloads.issuer.issue(edge.authority, *edge.right)
    answers = {n.name: edge.ask(workloads, n, identity) for n in edge.nodes(workloads.plan)}
    return [f"{name}: {answer}" for name, answer in answers.items() if answer.status != 200]


@pytest.mark.parametrize("edge", [e for e in EDGES if not e.is_etcd], ids=lambda edge: edge.title)
def test_an_edge_forbids_an_unknown_name_of_the_right_authority(workloads: Workloads, edge: Edge) -> None:
    assert not _served(workloads, edge)
    nobody = workloads.issuer.issue(edge.authority, "nobody", "no-group")
    for what, answer in _attempts(workloads, edge, (nobody,)):
        path = what.split(" with ")[0]
        # Every authenticated name may read the paths of RBAC's own system:public-info-viewer and system:discovery.
        if edge.title == "apiserver" and any(f"{p} " in path for p in ("/api", "/apis", "/version", "/healthz", "/openapi/v2")):
            continue
        assert answer.status == 403, f"{what}: {answer}"


def test_a_peer_by_another_name_is_refused_in_the_handshake(workloads: Workloads) -> None:
    (peers,) = (e for e in EDGES if e.port == ETCD_PEER_PORT)
    names = ("root", "kube-etcd", "kube-etcd-healthcheck-client", "kube-apiserver-etcd-client", "flannel", "nobody")
    strangers = tuple(workloads.issuer.issue(ETCD.name, name) for name in names)
    assert not _served(workloads, peers)
    for what, answer in _attempts(workloads, peers, strangers):
        assert answer.ended_by_the_server, f"{what}: {answer}"
    # The apiserver's own certificate from a master.
    stored = workloads.issuer.stored("apiserver-etcd-client/m1")
    assert peers.ask(workloads, workloads.plan.etcd_members[0], stored).ended_by_the_server


@pytest.mark.parametrize("edge", [e for e in EDGES if e.loopback], ids=lambda edge: edge.title)
def test_loopback_listeners_do_not_answer_on_the_hosts_address(workloads: Workloads, edge: Edge) -> None:
    authority = workloads.issuer.authority(KUBERNETES.name)
    assert not _served(workloads, edge)
    for node in edge.nodes(workloads.plan):
        for source in (None, node.name):
            with on(workloads.lab, source):
                refused = ask(node.address, edge.port, "/healthz", authority=authority)
                control = ask(node.address, API_PORT, "/readyz", authority=authority)
            assert refused.broken.startswith("ConnectionRefusedError"), f"{node.name}: {refused}"
            assert control.status == 200, f"{node.name}: {control}"


def test_a_workers_load_balancer_does_not_answer_on_the_hosts_address(workloads: Workloads) -> None:
    authority = workloads.issuer.authority(KUBERNETES.name)
    for node in (n for n in workloads.plan.nodes if not n.is_master):
        with on(workloads.lab):
            outside = ask(node.address, API_PORT, "/readyz", authority=authority)
        with on(workloads.lab, node.name):
            inside = ask("127.0.0.1", API_PORT, "/readyz", authority=authority)
        assert outside.broken.startswith("ConnectionRefusedError"), f"{node.name}: {outside}"
        assert inside.status == 200, f"{node.name}: {inside}"


@pytest.mark.parametrize("edge", [e for e in EDGES if not e.is_etcd], ids=lambda edge: edge.title)
def test_a_pods_token_opens_no_component(workloads: Workloads, edge: Edge) -> None:
    """Authenticated, but without rights; an unknown token is anonymous."""
    token = workloads.shell(workloads.pod("one"), "cat /var/run/secrets/kubernetes.io/serviceaccount/token")
    authority = workloads.issuer.authority(KUBERNETES.name)
    for node in edge.nodes(workloads.plan):
        for bearer, expected in ((token, 403), (token[:-8] + "AAAAAAAA", 401)):
            with on(workloads.lab, node.name if edge.loopback else None):
                answer = ask(
                    "127.0.0.1" if edge.loopback else node.address,
                    edge.port,
                    edge.paths[0],
                    authority=authority,
                    headers={"Authorization": f"Bearer {bearer}"},
                )
            assert answer.status == expected, f"{node.name}: {answer}"


def test_only_the_front_proxys_certificate_may_claim_other_users(workloads: Workloads) -> None:
    issuer, (master, *_) = workloads.issuer, workloads.plan.masters
    claim = {"X-Remote-User": "kubernetes-admin", "X-Remote-Group": ADMIN[1]}
    rows = (
        (issuer.stored(f"front-proxy-client/{master.name}"), 200),
        (issuer.issue(FRONT_PROXY.name, "another-proxy"), 401),
        (issuer.issue(ETCD.name, "front-proxy-client"), 401),
        (issuer.issue("foreign", "front-proxy-client"), 401),
        (issuer.issue(KUBERNETES.name, "front-proxy-client"), 403),
        (issuer.issue(KUBERNETES.name, "nobody"), 403),
        (None, 401),
    )
    for identity, expected in rows:
        with on(workloads.lab):
            answer = ask(
                master.address,
                API_PORT,
                "/api/v1/secrets",
                authority=issuer.authority(KUBERNETES.name),
                identity=identity,
                headers=claim,
            )
        assert answer.status == expected, f"{identity.title if identity else 'none'}: {answer}"


def _etcdctl(workloads: Workloads, identity: Identity, *arguments: str) -> Done:
    binary = obtain_all(DEFAULT, machine_arch(), SourceConfig(), print).binary("etcdctl").path
    with files(identity) as (certificate, key):
        authority = certificate.with_name("ca.crt")
        authority.write_bytes(workloads.issuer.authority(ETCD.name))
        tls = (f"--cacert={authority}", f"--cert={certificate}", f"--key={key}")
        endpoints = f"--endpoints={','.join(workloads.plan.etcd_endpoints)}"
        return workloads.cluster.exec(str(binary), *tls, endpoints, "--command-timeout=5s", *arguments, check=False)


REGISTRY = ("get", "/registry/namespaces/default", "--keys-only")
NETWORK = "/coreos.com/network"


@pytest.mark.parametrize(
    ("name", "command", "allowed"),
    [
        ("root", REGISTRY, True),
        ("kube-apiserver-etcd-client", REGISTRY, True),
        ("flannel", REGISTRY, False),
        ("flannel", ("put", "/registry/kw-test", "x"), False),
        ("flannel", ("get", f"{NETWORK}/config"), True),
        ("flannel", ("put", f"{NETWORK}/kw-test", "x"), True),
        ("flannel", ("del", f"{NETWORK}/kw-test"), True),
        ("flannel", ("get", "/coreos.com/networks", "--prefix"), False),
        ("flannel", ("get", "", "--prefix", "--keys-only"), False),
        ("flannel", ("user", "list"), False),
        ("flannel", ("auth", "disable"), False),
        ("nobody", REGISTRY, False),
        ("nobody", ("get", f"{NETWORK}/config"), False),
        ("kube-etcd", REGISTRY, False),
        ("kube-etcd-peer", REGISTRY, False),
        ("kube-etcd-healthcheck-client", REGISTRY, False),
        ("kube-etcd-healthcheck-client", ("member", "remove", "1"), False),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, tuple) else str(value),
)
def test_a_name_reaches_its_own_part_of_etcd_only(
    workloads: Workloads, name: str, command: tuple[str, ...], allowed: bool
) -> None:
    done = _etcdctl(workloads, workloads.issuer.issue(ETCD.name, name), *command)
    if allowed:
        assert done.returncode == 0 and (done.stdout.strip() or command[0] == "get"), done.stderr
    else:
        said = f"{done.stdout}{done.stderr}"
        # For administrators' calls, etcd looks up the name first.
        assert done.returncode != 0 and ("permission denied" in said or "user name not found" in said), said


def test_etcds_json_gateway_accepts_no_certificate_name(workloads: Workloads) -> None:
    """It ignores certificates' names: the same root that reads by gRPC does not through it."""
    assert _etcdctl(workloads, workloads.issuer.issue(ETCD.name, "root"), *REGISTRY).stdout.strip() == REGISTRY[1]
    key = "L3JlZ2lzdHJ5L25hbWVzcGFjZXMvZGVmYXVsdA=="
    for name in ("root", "nobody"):
        with on(workloads.lab):
            answer = ask(
                workloads.plan.etcd_members[0].address,
                ETCD_CLIENT_PORT,
                "/v3/kv/range",
                authority=workloads.issuer.authority(ETCD.name),
                identity=workloads.issuer.issue(ETCD.name, name),
                method="POST",
                body={"key": key},
            )
        assert answer.status >= 400 and b"kvs" not in answer.body, f"{name}: {answer}"


def _as_kubelet(workloads: Workloads, issuer: Issuer, node: str, path: str, patch: object = None) -> int:
    with on(workloads.lab):
        return ask(
            workloads.plan.masters[0].address,
            API_PORT,
            path,
            authority=issuer.authority(KUBERNETES.name),
            identity=issuer.stored(f"kubelet-client/{node}"),
            method="GET" if patch is None else "PATCH",
            body=patch,
            headers={} if patch is None else {"Content-Type": "application/merge-patch+json"},
        ).status


def test_a_kubelet_reads_the_secrets_of_its_own_pods_only(workloads: Workloads) -> None:
    home = workloads.pod("two").host
    secret = f"/api/v1/namespaces/{NAMESPACE}/secrets/sealed"
    for node in workloads.plan.kubelets:
        expected = 200 if node.name == home else 403
        assert _as_kubelet(workloads, workloads.issuer, node.name, secret) == expected, node.name
    assert _as_kubelet(workloads, workloads.issuer, home, f"/api/v1/namespaces/{NAMESPACE}/secrets") == 403
    assert workloads.api().get(secret)["data"]["word"]


def test_a_kubelet_changes_its_own_node_only(workloads: Workloads) -> None:
    for changed, sent in (("annotations", {"kw-test": "x"}), ("labels", {"kw-test": "x"})):
        body = {"metadata": {changed: sent}}
        assert _as_kubelet(workloads, workloads.issuer, "w1", "/api/v1/nodes/w2", body) == 403
        assert _as_kubelet(workloads, workloads.issuer, "w1", "/api/v1/nodes/m1", body) == 403
        assert _as_kubelet(workloads, workloads.issuer, "w1", "/api/v1/nodes/w1", body) == 200
        undo = {"metadata": {changed: {"kw-test": None}}}
        assert _as_kubelet(workloads, workloads.issuer, "w1", "/api/v1/nodes/w1", undo) == 200
    # It may not make itself a master or remove a taint either.
    role = {"metadata": {"labels": {"node-role.kubernetes.io/control-plane": ""}}}
    assert _as_kubelet(workloads, workloads.issuer, "w1", "/api/v1/nodes/w1", role) == 403
    assert _as_kubelet(workloads, workloads.issuer, "m1", "/api/v1/nodes/m1", {"spec": {"taints": None}}) == 403


def test_anonymous_clients_are_answered_on_livez_and_readyz_only(workloads: Workloads) -> None:
    authority = workloads.issuer.authority(KUBERNETES.name)
    for master in workloads.plan.masters:
        with on(workloads.lab):
            found = {
                path: ask(master.address, API_PORT, path, authority=authority).status
                for path in ("/livez", "/readyz", "/livez/ping", "/healthz", "/version", "/api", "/readyzz")
            }
        assert found == {
            "/livez": 200,
            "/readyz": 200,
            "/livez/ping": 401,
            "/healthz": 401,
            "/version": 401,
            "/api": 401,
            "/readyzz": 401,
        }
