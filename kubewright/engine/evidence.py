"""What the live cluster itself says of a rotation: who serves whose certificates, who trusts whom, what pods have been given."""

from __future__ import annotations

import base64
import hashlib
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import gevent
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from kubewright.engine.remote import Remote
from kubewright.engine.run import Run
from kubewright.engine.ssh import SshHost
from kubewright.engine.tls_probe import ask, served
from kubewright.engine.tls_stream import Terms
from kubewright.errors import Failed
from kubewright.plan.edges import Edge, Endpoint, edges, endpoints
from pki import certificates, identities, trust
from pki.table import ROWS

KUBECTL = "/usr/local/bin/kubectl --kubeconfig=/etc/kubernetes/admin.conf"
PAUSE = 2.0
ROLLED = ("Deployment", "DaemonSet", "StatefulSet")
ROLLOUT_SECONDS = 600
LISTENERS_SECONDS, PODS_SECONDS = 120.0, 420.0
"""How long evidence is waited for. kubelet looks at a pod's volumes about once a minute, and keeps what it got for another."""

_VOLUMES = "/var/lib/kubelet/pods/*/volumes/kubernetes.io~projected/*"
# Of a token only its header is read, which says the key that signed it: the token itself never leaves the host.
_TOKEN_HEADERS = f'for f in {_VOLUMES}/token; do [ -f "$f" ] && printf "%s %s\\n" "$(cut -d. -f1 "$f")" "$f"; done; true'
_PUBLISHED = "get configmaps -A --field-selector=metadata.name=kube-root-ca.crt --show-managed-fields -o json"
_AUTHORITIES = f'for f in {_VOLUMES}/ca.crt; do [ -f "$f" ] && printf "%s %s\\n" "$(base64 -w0 "$f")" "$f"; done; true'


def until_none(what: str, missing: Callable[[], list[str]], seconds: float, say: Callable[[str], None]) -> None:
    """Ask until nothing is missing. Failed, naming what still is, after `seconds`; running it again goes on from there."""
    deadline, said = time.monotonic() + seconds, ""
    while found := missing():
        if time.monotonic() > deadline:
            raise Failed(f"{what}, still not after {seconds:.0f} s: {_few(found)}; see to it, then run the same command again")
        if (text := f"waiting: {what}: {len(found)} to go") != said:
            said = text
            say(text)
        gevent.sleep(PAUSE)


def _few(found: list[str]) -> str:
    return "; ".join(found[:8]) + (f"; and {len(found) - 8} more" if len(found) > 8 else "")


def not_served(run: Run, name: str) -> list[str]:
    """The listeners that do not show a certificate signed by the authority `name` as it is now."""
    authority = certificates.from_pem(run.store.certificate(name))
    wanted = [(e, sources[0]) for e, sources in endpoints(run.plan, run.roles).items() if ROWS[e.tls.row].authority.name == name]

    def look(endpoint: Endpoint, source: str) -> str:
        shown = served(_remote(run, source), endpoint.address, endpoint.port)
        if not shown.chain:
            return f"{endpoint.title} shows no certificate ({shown.broken})"
        try:
            x509.load_der_x509_certificate(shown.leaf).verify_directly_issued_by(authority)
        except Exception:
            return f"{endpoint.title} shows one of another authority"
        return ""

    return [text for text in _at_once(look, wanted) if text]


def not_trusting(run: Run, name: str) -> list[str]:
    """The servers that refuse a client whose certificate the authority called `name`, which may be to come, has signed."""
    signer, whose = identities.signer(run.store, name), name.rsplit("/", 1)[0] if name.count("/") > 1 else name
    first: dict[Endpoint, Edge] = {}
    for edge in edges(run.plan, run.roles):
        if edge.row and ROWS[edge.row].authority.name == whose:
            first.setdefault(edge.endpoint, edge)

    def attempt(edge: Edge) -> str:
        subject = ROWS[edge.row].leaf(run.plan, run.plan.node(edge.source)).subject
        identity = signer.identity(subject, algorithm=run.plan.certificates.algorithm)
        terms = Terms(
            trust=trust.bundle(run.store.entries, edge.endpoint.authority), identity=identity, server_name=edge.server_name
        )
        answer = ask(_remote(run, edge.source), edge.endpoint.address, edge.endpoint.port, edge.path, terms=terms)
        return "" if answer.status == 200 else f"{edge.endpoint.title} answers {answer}"

    return [text for text in _at_once(attempt, [(edge,) for edge in first.values()]) if text]


def key_id(public_pem: bytes) -> str:
    """A token's `kid` for the key that signs it: SHA-256 of the public key in DER (k8s.io/kubernetes pkg/serviceaccount)."""
    der = serialization.load_pem_public_key(public_pem).public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return base64.urlsafe_b64encode(hashlib.sha256(der).digest()).rstrip(b"=").decode()


def old_tokens(run: Run, public_pem: bytes) -> list[str]:
    """The pods whose mounted token is signed with another key than that."""
    wanted = key_id(public_pem)

    def stale(header: str) -> bool:
        padded = header + "=" * (-len(header) % 4)
        return bool(json.loads(base64.urlsafe_b64decode(padded)).get("kid") != wanted)

    return [f"the token of {_pod(path)} on {host}" for host, header, path in _mounted(run, _TOKEN_HEADERS) if stale(header)]


def without_authority(run: Run, name: str) -> list[str]:
    """The pods whose mounted ca.crt does not hold the authority called `name`."""
    wanted = trust.first(run.store.certificate(name).decode()).strip()
    return [
        f"the ca.crt of {_pod(path)} on {host}"
        for host, content, path in _mounted(run, _AUTHORITIES)
        if wanted not in base64.b64decode(content).decode()
    ]


def _pod(path: str) -> str:
    return f"pod {path.split('/')[5]}"


def _mounted(run: Run, script: str) -> Iterator[tuple[str, str, str]]:
    names = [n.name for n in run.plan.kubelets]
    answers = _at_once(lambda name: _remote(run, name).run(script, timeout=60).stdout, [(name,) for name in names])
    for name, text in zip(names, answers, strict=True):
        for line in text.splitlines():
            value, _, path = line.partition(" ")
            yield name, value, path


@dataclass(frozen=True, kw_only=True)
class OldPod:
    """A pod that was there before its namespace was given the present ca.crt: it may have read the old one at its start."""

    namespace: str
    name: str
    owner: str
    """`KIND/NAME` that rolls it, empty for one that stands alone."""

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}" + (f" (of {self.owner})" if self.owner else " (of nothing that could roll it)")


def old_pods(run: Run) -> list[OldPod]:
    """Pods that are given the API's ca.crt and started before it was what it is now."""
    published = {
        item["metadata"]["namespace"]: max(f["time"] for f in item["metadata"]["managedFields"])
        for item in _kubectl(run, _PUBLISHED)
    }
    replica_sets = {
        (item["metadata"]["namespace"], item["metadata"]["name"]): _owner(item)
        for item in _kubectl(run, "get replicasets -A -o json")
    }
    found = []
    for pod in _kubectl(run, "get pods -A -o json"):
        namespace, status = pod["metadata"]["namespace"], pod["status"]
        if status.get("phase") != "Running" or not _reads_authority(pod):
            continue
        started = [c["state"]["running"]["startedAt"] for c in status.get("containerStatuses", ()) if "running" in c["state"]]
        if started and min(started) <= published.get(namespace, ""):
            owner = _owner(pod)
            kind, _, name = owner.partition("/")
            owner = replica_sets.get((namespace, name), "") if kind == "ReplicaSet" else owner
            found.append(OldPod(namespace=namespace, name=pod["metadata"]["name"], owner=owner))
    return found


def _reads_authority(pod: dict[str, Any]) -> bool:
    return '"kube-root-ca.crt"' in json.dumps(pod["spec"]["volumes"]) if "volumes" in pod["spec"] else False


def _owner(item: dict[str, Any]) -> str:
    references = item["metadata"].get("ownerReferences", [])
    return next((f"{r['kind']}/{r['name']}" for r in references if r.get("controller")), "")


def _kubectl(run: Run, arguments: str) -> list[dict[str, Any]]:
    answer = _remote(run, run.plan.first_master.name).run(f"{KUBECTL} {arguments}", timeout=120)
    if answer.status != 0:
        raise Failed(f"{run.plan.first_master.name}: kubectl {arguments}: {answer.stderr.strip()}")
    return list(json.loads(answer.stdout)["items"])


def _at_once(work: Callable[..., str], arguments: Sequence[tuple[Any, ...]]) -> list[str]:
    jobs = [gevent.spawn(work, *given) for given in arguments]
    gevent.joinall(jobs, raise_error=True)
    return [job.value for job in jobs]


def _remote(run: Run, name: str) -> Remote:
    host = run.hosts[name]
    assert isinstance(host, SshHost)
    return host.remote


def restart(run: Run, pods: list[OldPod], say: Callable[[str], None]) -> None:
    """Roll what those pods belong to, one after another, each until it is rolled out. Failed, naming the one that is not."""
    for namespace, owner in dict.fromkeys((p.namespace, p.owner) for p in pods if p.owner.partition("/")[0] in ROLLED):
        kind, _, name = owner.partition("/")
        say(f"restarting {kind} {namespace}/{name}")
        what = f"-n {namespace} {kind.lower()}/{name}"
        rolled = f"{KUBECTL} rollout status {what} --timeout={ROLLOUT_SECONDS}s"
        script = f"{KUBECTL} rollout restart {what} >/dev/null && {rolled} >/dev/null"
        answer = _remote(run, run.plan.first_master.name).run(script, timeout=ROLLOUT_SECONDS + 60)
        if answer.status != 0:
            raise Failed(f"{kind} {namespace}/{name} is not rolled out ({answer.stderr.strip()}); mend it, then run this again")
