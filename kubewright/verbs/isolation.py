"""`kubewright node isolate` and `recover`: a node without pods, which stays in the cluster."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from kubewright.errors import BadInput, Failed, Problem
from kubewright.observe.live import Live, live_of
from kubewright.plan.wave import Wave, roles_of
from kubewright.run import drain
from kubewright.run.connection import connected
from kubewright.run.events import Event
from kubewright.run.session import Session
from kubewright.spec import load


def isolate(inventory: Path, waves: tuple[Wave, ...], notify: Callable[[Event], None], name: str, *, seconds: int) -> None:
    """Cordon and drain a node, and keep it. Failed when it can't be drained: it takes pods as before."""
    session = _session_for(inventory, waves, notify, name, "node isolate")
    with connected(session):
        _look(session)
        session.take_lock()
        session.begin()
        drain.evacuate(session, name, seconds=seconds)
        drain.keep_empty(session, name)
        session.note("drain", name, ("drain its node, which takes no pods any more",))


def recover(inventory: Path, waves: tuple[Wave, ...], notify: Callable[[Event], None], name: str) -> None:
    """Uncordon a node that is well. Failed, saying why, when it is not."""
    session = _session_for(inventory, waves, notify, name, "node recover")
    with connected(session):
        live = _look(session)
        node = next((n for n in live.api.nodes if n.name == name), None) if live.api else None
        release = session.plan.node(name).release.kubernetes
        if node is None:
            raise Failed(f"{name}: the cluster has no node of that name; run: kubewright apply")
        ill = drain.unwell_now(session, name)
        if node.kubernetes != release:
            ill = [*ill, f"its kubelet is {node.kubernetes}, the others' {release}"]
        if ill:
            raise Failed(f"{name}: it stays cordoned, because {', '.join(ill)}; see kubewright verify and kubewright apply")
        session.take_lock()
        session.begin()
        drain.use_again(session, name)
        session.note("drain", name, ("its node takes pods again",))


def _session_for(inventory: Path, waves: tuple[Wave, ...], notify: Callable[[Event], None], name: str, verb: str) -> Session:
    spec = load(inventory)
    names = sorted(host.name for host in spec.nodes)
    if name not in names:
        allowed = f"one of {', '.join(names)}"
        raise BadInput([Problem(where=verb, what=f"no such node ({name})", allowed=allowed, todo="correct the name")])
    return Session(inventory=inventory, spec=spec, roles=roles_of(waves), notify=notify, verb=verb)


def _look(session: Session) -> Live:
    """Ask the masters that answer: other hosts may be down. Failed when none has an API."""
    session.unreachable.clear()
    for master in session.plan.masters:
        if master.name in session.hosts:
            session.observe(master.name)
    live = live_of(session.observed)
    if live.api is None:
        raise Failed("no master answers, or none has an API; see kubewright verify")
    return live
