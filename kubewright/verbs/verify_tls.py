"""`verify --tls`: every TLS connection that must work and those that must not, the listeners and the private keys of each
host."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from kubewright.errors import Failed
from kubewright.plan import key_places
from kubewright.plan.listeners import Listener, listeners
from kubewright.plan.role import Role
from kubewright.run.connection import everyone
from kubewright.run.session import Session
from kubewright.tls.attempts import Kind, accepted, refused, rights
from kubewright.tls.identities import Identities
from kubewright.tls.matrix import Tried, carry_out
from kubewright.verbs.certificates import opened


@dataclass(frozen=True, kw_only=True)
class Report:
    """The findings."""

    tried: tuple[Tried, ...]
    listeners: tuple[Listener, ...]
    misplaced_keys: tuple[str, ...]
    """Each a sentence that begins with its host."""
    left_out: Mapping[str, str] = field(default_factory=dict)
    """Attempts that could not be made, with the reason."""

    @property
    def failures(self) -> tuple[str, ...]:
        """All failures, a sentence each."""
        return (
            *(f"{t.attempt.title}: {t.message}" for t in self.tried if not t.holds),
            *(f"{found.host}: {found.protocol} {found.port}: {found.message}" for found in self.listeners if found.message),
            *self.misplaced_keys,
        )

    @property
    def counts(self) -> Mapping[str, int]:
        """The numbers of attempts and findings, by kind."""
        edges = [t for t in self.tried if t.attempt.kind is Kind.ACCEPTED]
        calls = [t for t in self.tried if t.attempt.kind is Kind.RIGHTS]
        negatives = [t for t in self.tried if t.attempt.kind not in (Kind.ACCEPTED, Kind.RIGHTS)]
        return {
            "edges": len(edges),
            "accepted": sum(t.holds for t in edges),
            "wrong connections": len(negatives),
            "refused": sum(t.holds for t in negatives),
            "etcd calls": len(calls),
            "as etcd's roles say": sum(t.holds for t in calls),
            "planned listeners": sum(found.planned for found in self.listeners),
            "listeners of the hosts' own": sum(not found.planned and not found.message for found in self.listeners),
            "failures": len(self.failures),
            "left out": len(self.left_out),
        }


def verify_tls(inventory: Path, roles: Sequence[Role]) -> Report:
    """Changes nothing. HostsUnfit when a host does not answer; Failed when there are no certificates yet, or no forwarding."""
    spec, store = opened(inventory)
    session = Session(inventory=inventory, spec=spec, roles=roles)
    plan = session.plan
    if not store.entries:
        raise Failed(f"{inventory}: it has no certificates yet, so there is nothing to try; run kubewright apply first")
    with everyone(session):
        session.observe_all()
        identities = Identities(store)
        wanted = [attempt for kind in (accepted, refused, rights) for attempt in kind(plan, roles, identities)]
        tried = carry_out(session.remotes, wanted)
    return Report(
        tried=tried,
        listeners=tuple(found for node in plan.nodes for found in listeners(plan, roles, node, session.observed[node.name])),
        misplaced_keys=tuple(
            f"{node.name}: {problem}"
            for node in plan.nodes
            for problem in key_places.problems(plan, node, session.observed[node.name], store.entries)
        ),
        left_out=identities.left_out,
    )
