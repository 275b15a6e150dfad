"""Who may need what a rotation is about to drop, as the cluster and the inventory know them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from kubewright.errors import Failed
from kubewright.run.session import Session
from kubewright.verbs.rotate.evidence import remote

KUBECTL = "/usr/local/bin/kubectl --kubeconfig=/etc/kubernetes/admin.conf"
ROLLED = ("Deployment", "DaemonSet", "StatefulSet")
ROLLOUT_SECONDS = 600

_PUBLISHED = "get configmaps -A --field-selector=metadata.name=kube-root-ca.crt --show-managed-fields -o json"
_OLD_KIND = "--field-selector=type=kubernetes.io/service-account-token"
_NAMES = """-o jsonpath='{range .items[*]}{.metadata.namespace}/{.metadata.name}{"\\n"}{end}'"""


def token_secrets(session: Session) -> list[str]:
    """The Secrets that hold a service account's token of the old kind, as `namespace/name`: nothing renews those."""
    return _command(session, f"get secrets -A {_OLD_KIND} {_NAMES}").split()


@dataclass(frozen=True, kw_only=True)
class OldPod:
    """A pod that was there before its namespace was given the present ca.crt: it may have read the old one at its start."""

    namespace: str
    name: str
    owner: str
    """`KIND/NAME` that rolls it, empty for one that stands alone."""

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}" + (f" (of {self.owner})" if self.owner else " (of nothing that could roll it)")


def old_pods(session: Session) -> list[OldPod]:
    """Pods that are given the API's ca.crt and started before it was what it is now."""
    published = {
        item["metadata"]["namespace"]: max(f["time"] for f in item["metadata"]["managedFields"])
        for item in _kubectl(session, _PUBLISHED)
    }
    replica_sets = {
        (item["metadata"]["namespace"], item["metadata"]["name"]): _owner(item)
        for item in _kubectl(session, "get replicasets -A -o json")
    }
    found = []
    for pod in _kubectl(session, "get pods -A -o json"):
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


def _kubectl(session: Session, arguments: str) -> list[dict[str, Any]]:
    return list(json.loads(_command(session, arguments))["items"])


def _command(session: Session, arguments: str) -> str:
    answer = remote(session, session.plan.first_master.name).run(f"{KUBECTL} {arguments}", timeout=120)
    if answer.status != 0:
        raise Failed(f"{session.plan.first_master.name}: kubectl {arguments}: {answer.stderr.strip()}")
    return answer.stdout


def restart(session: Session, pods: list[OldPod], say: Callable[[str], None]) -> None:
    """Roll what those pods belong to, one after another, each until it is rolled out. Failed, naming the one that is not."""
    for namespace, owner in dict.fromkeys((p.namespace, p.owner) for p in pods if p.owner.partition("/")[0] in ROLLED):
        kind, _, name = owner.partition("/")
        say(f"restarting {kind} {namespace}/{name}")
        what = f"-n {namespace} {kind.lower()}/{name}"
        rolled = f"{KUBECTL} rollout status {what} --timeout={ROLLOUT_SECONDS}s"
        script = f"{KUBECTL} rollout restart {what} >/dev/null && {rolled} >/dev/null"
        answer = remote(session, session.plan.first_master.name).run(script, timeout=ROLLOUT_SECONDS + 60)
        if answer.status != 0:
            raise Failed(f"{kind} {namespace}/{name} is not rolled out ({answer.stderr.strip()}); repair it, then run this again")
