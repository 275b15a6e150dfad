"""What must be in order before a cluster moves to another release: every finding at once. Pure.

Some findings come from a move itself when it was interrupted: a drained node leaves pods away, a stopped member does not answer.
They are told before a move begins, and not when it goes on. What a failed upgrade leaves behind does not stop the way back: a
rollback tells it as remarks, and the gates of its units decide.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from cryptography import x509

from kubewright.errors import Problem
from kubewright.model.cluster import Plan
from kubewright.observe.live import Live
from kubewright.observe.observed import Observed
from kubewright.plan.move import ETCD, Move, Running, interrupted, running
from kubewright.releases.version import Version
from kubewright.verbs.upgrade.asking import Answers
from pki.authorities import AUTHORITIES
from pki.store import Entry

SERVERS = (ETCD, "kube-apiserver")
"""Without them nothing answers."""
SPARE = 100 << 20
"""Bytes that stay free beside a snapshot."""
LEAST_DAYS = 30
"""An authority must be valid that long: what is rotated in a hurry should not meet two releases."""
_MIB = 1 << 20
_ALARMS = {
    "NOSPACE": "free space or raise the quota, then disarm it: docs/runbooks/etcd.md",
    "CORRUPT": "replace the member: docs/runbooks/etcd.md",
}


@dataclass(frozen=True, kw_only=True)
class Scene:
    """What the findings follow from. `free_here`: bytes on this machine, where the snapshot is kept."""

    plan: Plan
    move: Move
    live: Live
    observed: Mapping[str, Observed]
    entries: Mapping[str, Entry]
    answers: Answers
    begun: bool
    free_here: int
    now: dt.datetime


def silent(running: Running, observed: Mapping[str, Observed], live: Live) -> list[Problem]:
    """Where there is no cluster to ask, and none whose only etcd or apiserver a killed run has left stopped."""
    answers = live.etcd is not None and live.api is not None
    if running.of("kube-apiserver") and (answers or interrupted(observed, live, SERVERS)):
        return []
    parts = [name for name, answer in (("etcd", live.etcd), ("the API", live.api)) if answer is None]
    return [
        Problem(
            where="the cluster",
            what=f"no answer from {' and '.join(parts) or 'an apiserver of ours'} on any host",
            allowed="a cluster that serves",
            todo="see kubewright verify; a new cluster is made by: kubewright apply",
        )
    ]


def findings(scene: Scene) -> list[Problem]:
    """What stands in the way."""
    found = [*_alarms(scene), *_learners(scene), *_space(scene)]
    begins = scene.move.verb == "upgrade" and not scene.begun
    if len(scene.plan.kubelets) > 1 and (begins or _moves_nodes(scene)):  # an only node is not drained
        found += _blocked(scene)
    if scene.move.verb == "upgrade":
        found += _deprecated(scene)
    if begins:
        found += _troubles(scene)
    return found


def _troubles(scene: Scene) -> list[Problem]:
    """What is not in order, and may have come with a move."""
    # Only before a move: rotate-ca is refused while two releases run.
    found = [*_authorities(scene), *_silent(scene), *_nodes(scene), *_hooks(scene)]
    return [*found, *(_short(scene) if len(scene.plan.kubelets) > 1 else ())]


def _moves_nodes(scene: Scene) -> bool:
    """Whether a node of cluster.yaml has another version than the move brings, so that it is drained."""
    target, found = scene.move.version_of("kubelet"), running(scene.observed, scene.live).kubelets
    return any(found.get(node.name, target) != target for node in scene.plan.kubelets)


def remarks(scene: Scene) -> list[str]:
    """What a person should know, and what stands in no way."""
    troubles = [f"{one.where}: {one.what}" for one in _troubles(scene)] if scene.move.verb == "rollback" else ()
    return [*_cordoned(scene), *_alone(scene), *_later(scene), *_stored(scene), *_unknown(scene), *troubles]


def _alarms(scene: Scene) -> Iterator[Problem]:
    for alarm in scene.live.etcd.alarms if scene.live.etcd else ():
        name, _, member = alarm.partition(" ")
        yield Problem(
            where="etcd",
            what=f"the alarm {name} is raised (member {member})",
            allowed="no alarm",
            todo=_ALARMS.get(name, "see kubewright verify"),
        )


def _learners(scene: Scene) -> Iterator[Problem]:
    """A host that joins makes the move look begun, and a learner counts in no quorum: it gets its vote first."""
    members = scene.live.etcd.members if scene.live.etcd else ()
    learners = scene.live.etcd.learners if scene.live.etcd else frozenset()
    for member in members:
        if member.id in learners:
            yield Problem(
                where="etcd",
                what=f"the member {member.name or ', '.join(member.peer_urls)} has joined, and has no vote yet",
                allowed="members that vote",
                todo="first run the kubewright node command again that has added it",
            )


def _silent(scene: Scene) -> Iterator[Problem]:
    """Before the first change all members serve: one that is away would make a restart of another one the end of the quorum.
    Where none serves at all, `silent` has judged why."""
    todo = "see kubewright verify, journalctl -u etcd and journalctl -u kube-apiserver on the host"
    for node in scene.plan.etcd_members:
        if node.name in scene.observed and scene.live.etcd and scene.observed[node.name].etcd is None:
            yield Problem(where=node.name, what="its etcd member does not answer", allowed="every member answers", todo=todo)
    for node in scene.plan.masters:
        if node.name in scene.observed and scene.live.api and scene.observed[node.name].api is None:
            yield Problem(where=node.name, what="its apiserver does not answer", allowed="every apiserver answers", todo=todo)


def _nodes(scene: Scene) -> Iterator[Problem]:
    names = {node.name for node in scene.plan.kubelets}
    for node in scene.live.api.nodes if scene.live.api else ():
        if node.name in names and not node.ready:
            yield Problem(
                where=node.name,
                what="its node is not Ready",
                allowed="every node of cluster.yaml is Ready",
                todo=f"repair it (kubewright kubectl -i INVENTORY -- describe node {node.name}), or take it out of the cluster",
            )


def _space(scene: Scene) -> Iterator[Problem]:
    """For the snapshot: on the members, any of which may be asked, and here. What is sent has a check of its own."""
    sizes = [member.size for member in scene.answers.members.values() if member.size is not None]
    needed = max(sizes, default=0) + SPARE
    todo = "free some, or mount a larger disk there"
    for name, member in scene.answers.members.items():
        if member.temporary is not None and member.temporary < needed:
            yield _too_small(name, "the folder for temporary files", member.temporary, needed, todo)
    if sizes and scene.free_here < needed:
        yield _too_small("this machine", "the inventory's backups", scene.free_here, needed, todo)


def _too_small(where: str, folder: str, free: int, needed: int, todo: str) -> Problem:
    return Problem(
        where=where,
        what=f"too little space for a snapshot of etcd in {folder} ({free // _MIB} MiB free)",
        allowed=f"at least {-(-needed // _MIB)} MiB",
        todo=todo,
    )


def _authorities(scene: Scene) -> Iterator[Problem]:
    """Certificates are renewed in time by the run itself; authorities are not."""
    for authority in AUTHORITIES:
        entry = scene.entries.get(authority.name)
        if entry is None:
            continue
        until = x509.load_pem_x509_certificate(entry.certificate.encode()).not_valid_after_utc
        days = (until - scene.now).days
        if days < LEAST_DAYS:
            yield Problem(
                where=f"certificates.json {authority.name}",
                what=f"the authority is valid for {max(days, 0)} more days, until {until:%Y-%m-%d}",
                allowed=f"at least {LEAST_DAYS} days",
                todo=f"kubewright certs rotate-ca {authority.name.removeprefix('ca/')} -i INVENTORY first",
            )


def _blocked(scene: Scene) -> Iterator[Problem]:
    """Budgets that allow no eviction although every pod is healthy: no drain would ever end."""
    for budget in scene.answers.budgets or ():
        if budget.allowed == 0 and 0 < budget.pods <= budget.healthy:
            yield Problem(
                where=f"PodDisruptionBudget {budget.name}",
                what=f"it allows no eviction: it wants {budget.desired} healthy pods, and has {budget.healthy} of {budget.pods}",
                allowed="a budget that allows one eviction, so that nodes can be drained",
                todo="add a replica, or lower its minAvailable, or raise its maxUnavailable",
            )


def _short(scene: Scene) -> Iterator[Problem]:
    """Budgets that allow no eviction because pods are not healthy now."""
    for budget in scene.answers.budgets or ():
        if budget.allowed == 0 and budget.healthy < budget.pods:
            yield Problem(
                where=f"PodDisruptionBudget {budget.name}",
                what=f"it allows no eviction now: {budget.healthy} of its {budget.pods} pods are healthy",
                allowed=f"more than {budget.desired} healthy pods",
                todo="repair its pods first",
            )


def _hooks(scene: Scene) -> Iterator[Problem]:
    """Webhooks that fail closed and are down: pods that leave a node could not be made again."""
    serving = scene.answers.serving
    for hook in scene.answers.hooks or ():
        if serving is not None and hook.service and hook.service not in serving:
            yield Problem(
                where=f"{hook.configuration} {hook.name}",
                what=f"it fails closed (failurePolicy: Fail), and its Service {hook.service} has no ready endpoint",
                allowed="a webhook that answers",
                todo="repair what serves it, or remove the configuration",
            )


def _deprecated(scene: Scene) -> Iterator[Problem]:
    for one in scene.answers.deprecated:
        if one.removed and Version.parse(one.removed) <= scene.move.target.version:
            yield Problem(
                where=f"API {one.api}",
                what=f"clients ask for it, and {scene.move.target.kubernetes} does not have it (removed in {one.removed})",
                allowed="clients that ask for a later version",
                todo="find them in the audit log (annotation k8s.io/deprecated), then restart the apiservers, which count anew",
            )


def _cordoned(scene: Scene) -> Iterator[str]:
    nodes = scene.live.api.nodes if scene.live.api else ()
    if found := [node.name for node in nodes if not node.schedulable]:
        yield f"{', '.join(found)}: cordoned by somebody; drained like the others, and left cordoned"


def _alone(scene: Scene) -> Iterator[str]:
    """The only node that takes pods: nothing could leave it."""
    taking = [node.name for node in (scene.live.api.nodes if scene.live.api else ()) if node.ready and node.schedulable]
    if len(taking) == 1 and _moves_nodes(scene):
        yield f"{taking[0]}: not drained, because no other node takes pods; they run on while its kubelet is replaced"


def _later(scene: Scene) -> Iterator[str]:
    for one in scene.answers.deprecated:
        if one.removed and Version.parse(one.removed) > scene.move.target.version:
            yield f"API {one.api}: clients ask for it; it ends with {one.removed}"


def _stored(scene: Scene) -> Iterator[str]:
    for kind in scene.answers.kinds or ():
        if old := [version for version in kind.stored if version != kind.storage]:
            yield f"{kind.name}: objects may still be stored as {', '.join(old)}, and are written as {kind.storage}"


def _unknown(scene: Scene) -> Iterator[str]:
    found = {
        "PodDisruptionBudgets": scene.answers.budgets,
        "webhooks": scene.answers.hooks,
        "stored versions": scene.answers.kinds,
    }
    if silent := [name for name, answer in found.items() if answer is None]:
        yield f"not known, because the API did not list them: {', '.join(silent)}"
