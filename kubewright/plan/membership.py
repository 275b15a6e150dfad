"""How hosts join and leave a live cluster: ordered steps, from the live cluster and the plan to come. Pure.

The steps follow from live state alone, so a command that was killed makes the rest of them when it is run again. Members of
etcd that are lost leave first, since they cost the quorum; then new ones join, one at a time; then the others leave.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from kubewright.model.certificates import ROWS, hosts_of
from kubewright.model.cluster import ETCD_PEER_PORT, Gone, Node, Plan
from kubewright.observe.live import Live

REMOVES = frozenset({"members", "departed"})
"""The waves that only take members and nodes out of lists."""
LEAVES = frozenset({"members"})
JOINS = frozenset({"record", "base", "members", "etcd", "votes"})
"""The waves that a new etcd member needs: clients are told of it only once it has its vote."""


class Kind(enum.StrEnum):
    """What a step does."""

    RUN = "run"
    DRAIN = "drain"
    WIPE = "wipe"
    FORGET = "forget"


@dataclass(frozen=True, kw_only=True)
class Step:
    """`title` is for people. `plan` and `only` (titles of waves, empty: all) are those of a RUN; `hosts` of the others."""

    kind: Kind
    title: str
    plan: Plan | None = None
    only: frozenset[str] = frozenset()
    hosts: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Change:
    """What is asked for. `everything`: a plan of all hosts of cluster.yaml; `target`: of those that stay and join."""

    everything: Plan
    target: Plan
    leaving: tuple[Gone, ...] = ()
    """Hosts to take out, also those that cluster.yaml does not name any more."""
    dead: frozenset[str] = frozenset()
    """Those of `leaving` that are not asked any more."""
    rebuilt: frozenset[str] = frozenset()
    """Hosts of `target` that lost everything, or their member's data, and join anew."""
    kept: frozenset[str] = frozenset()
    """Those of `rebuilt` that lost their member's data only: their nodes stay, with their pods."""
    begun: frozenset[str] = frozenset()
    """Hosts on which kubewright has installed something."""
    serving: frozenset[str] = frozenset()
    """Hosts whose units run; of those that leave, only hosts whose etcd member answers."""


def peer(node: Node) -> str:
    return f"https://{node.address}:{ETCD_PEER_PORT}"


def joining(live: Live, target: Plan) -> frozenset[str]:
    """The hosts of `target` whose members have no vote yet."""
    voters = _voters(live)
    return frozenset(n.name for n in target.etcd_members if peer(n) not in voters)


def steps(live: Live, change: Change) -> tuple[Step, ...]:
    """Everything that is left to do, in order. Never empty: the last step is a whole run of the target."""
    return tuple(_steps(live, change))


def _steps(live: Live, change: Change) -> Iterator[Step]:
    target, voters, listed = change.target, _voters(live), _listed(live)
    there = {g.name for g in change.leaving if _intact(change, g, voters)}
    lost = tuple(g for g in change.leaving if g.name not in there)
    rebuilt = tuple(
        Gone(name=n.name, address=str(n.address), keeps_node=n.name in change.kept)
        for n in target.nodes
        if n.name in change.rebuilt
    )
    out = (*lost, *rebuilt)
    nodes = [n for n in change.everything.nodes if n.name not in {g.name for g in out}]
    has_vote = {n.name for n in change.everything.etcd_members if peer(n) in voters}
    ready = {n.name for n in live.api.nodes if n.ready} if live.api else set()
    if running := tuple(g.name for g in lost if g.name in ready and g.name in change.begun and g.name not in change.dead):
        # It is no member any more, or its etcd is stopped, and it has pods.
        yield Step(kind=Kind.DRAIN, title=f"drain {', '.join(running)}", hosts=running)
    if any(g.peer_url in listed for g in out) or rebuilt:
        # Without the lost ones first: each costs the quorum a healthy member.
        plan = _plan(change.everything, _known(nodes, has_vote), has_vote, gone=out)
        yield Step(kind=Kind.RUN, title=f"take {_names(out)} out of etcd and the API", plan=plan, only=REMOVES)
    if rebuilt:
        yield _forget(g.name for g in rebuilt)
    nodes += [n for n in target.nodes if n.name in change.rebuilt]
    nodes.sort(key=lambda n: [each.name for each in change.everything.nodes].index(n.name))
    has_vote -= {g.name for g in out}
    new = [n for n in target.etcd_members if n.name not in has_vote]
    # One that was added already comes first: etcd has only one learner at a time.
    for node in sorted(new, key=lambda n: (peer(n) not in listed or n.name in change.rebuilt, n.name not in change.rebuilt)):
        has_vote.add(node.name)
        plan = _plan(change.everything, _known(nodes, has_vote), has_vote, gone=lost, joining=frozenset({node.name}))
        yield Step(kind=Kind.RUN, title=f"{node.name} joins etcd: it learns, then votes", plan=plan, only=JOINS)
    gone = change.leaving
    if there:
        yield from _leave(live, change, nodes, has_vote, there, lost)
    cut = tuple(g.name for g in lost if g.name in change.begun and g.name not in change.dead)
    if cut:
        yield Step(kind=Kind.WIPE, title=f"remove everything from {', '.join(cut)}", hosts=cut)
    what = "every host as cluster.yaml has it" + (f", nothing of {_names(gone)}" if gone else "")
    yield Step(kind=Kind.RUN, title=what, plan=replace(target, gone=gone))
    if gone:
        yield _forget(g.name for g in gone)


def _leave(
    live: Live, change: Change, nodes: Sequence[Node], has_vote: set[str], there: set[str], lost: tuple[Gone, ...]
) -> Iterator[Step]:
    """Hosts that still serve: clients first, then pods, then members, then the hosts."""
    leaving = tuple(g for g in change.leaving if g.name in there)
    by_name = {n.name: n for n in change.everything.nodes}
    known = {node.name for node in live.api.nodes} if live.api else set()
    turned = any(by_name[name].is_master or by_name[name].is_etcd for name in there)
    if turned and not any(n.name in known for n in change.target.masters):
        # Load balancers turn before apiservers start: where none of the others serves yet, nobody would reach the API.
        plan = _plan(change.everything, nodes, has_vote, gone=lost)
        yield Step(kind=Kind.RUN, title="new hosts are installed", plan=plan)
    if turned or any(n.name not in known for n in change.target.kubelets):
        plan = _plan(change.everything, nodes, has_vote, gone=lost, leaving=frozenset(there))
        title = f"clients turn to the others: nobody is told of {_names(leaving)}" if turned else "new hosts are installed"
        yield Step(kind=Kind.RUN, title=title, plan=plan)
    if drained := tuple(g.name for g in leaving if by_name[g.name].runs_pods and g.name in known):
        yield Step(kind=Kind.DRAIN, title=f"drain {', '.join(drained)}", hosts=drained)
    if any(by_name[name].is_etcd for name in there):
        plan = replace(change.target, gone=change.leaving)
        yield Step(kind=Kind.RUN, title=f"{_names(leaving)} leaves etcd", plan=plan, only=LEAVES)
    yield Step(kind=Kind.WIPE, title=f"remove everything from {_names(leaving)}", hosts=tuple(g.name for g in leaving))


def _intact(change: Change, gone: Gone, voters: set[str]) -> bool:
    """Whether a host that leaves still serves: one that left etcd, or was emptied, does not come back to it."""
    node = next((n for n in change.everything.nodes if n.name == gone.name), None)
    if node is None or gone.name in change.dead or gone.name not in change.serving:
        return False
    return peer(node) in voters if node.is_etcd else True


def _plan(
    base: Plan,
    nodes: Iterable[Node],
    members: set[str],
    *,
    gone: tuple[Gone, ...] = (),
    joining: frozenset[str] = frozenset(),
    leaving: frozenset[str] = frozenset(),
) -> Plan:
    """`base` with those nodes, of which `members` have etcd."""
    kept = tuple(replace(n, is_etcd=n.name in members) for n in nodes)
    return replace(base, nodes=kept, gone=gone, joining=joining, leaving=leaving)


def _known(nodes: Iterable[Node], members: set[str]) -> list[Node]:
    """Without hosts whose members join later: a host gets all its roles at once."""
    return [n for n in nodes if not n.is_etcd or n.name in members]


def _listed(live: Live) -> set[str]:
    return {url for member in live.etcd.members for url in member.peer_urls} if live.etcd else set()


def _voters(live: Live) -> set[str]:
    """The peer URLs of members that have started and vote."""
    members = live.etcd.members if live.etcd else ()
    learners = live.etcd.learners if live.etcd else frozenset()
    return {url for member in members if member.id not in learners for url in member.peer_urls}


def _names(gone: Iterable[Gone]) -> str:
    return ", ".join(g.name for g in gone)


def _forget(names: Iterable[str]) -> Step:
    found = tuple(names)
    return Step(kind=Kind.FORGET, title=f"forget the certificates of {', '.join(found)}", hosts=found)


def rows_of(rows: Iterable[str], names: Iterable[str]) -> tuple[str, ...]:
    """The rows of a store that are those hosts' certificates."""
    wanted = frozenset(names)
    return tuple(row for row in rows if row.partition("/")[0] in ROWS and row.partition("/")[2] in wanted)


def certified(rows: Iterable[str]) -> frozenset[str]:
    """Every host that has a certificate among the rows of a store."""
    found = tuple(rows)
    return frozenset(host for row in ROWS for host in hosts_of(found, row))


def held(node_roles: frozenset[str], *, wiped: bool) -> tuple[str, ...]:
    """What a host that left had, and how that ends: a line each. `node_roles`: `master`, `etcd`, `node`.

    Kubernetes and etcd have no list of revoked certificates. Where the host was emptied, its keys are gone with it.
    """
    lines = ["its own certificates: their rows are removed, none is issued or renewed again"]
    if wiped:
        return (*lines, "it was emptied: no key is left on it; keys that somebody copied before end with the commands below")
    commands = []
    if node_roles & {"master", "node"}:
        commands.append("kubewright certs rotate-ca kubernetes -i INVENTORY      # its client certificates are refused then")
    commands.append("kubewright certs rotate-ca etcd -i INVENTORY            # so are those for etcd")
    if "master" in node_roles:
        commands += [
            "kubewright certs rotate-ca front-proxy -i INVENTORY     # it could act as any user through the front proxy",
            "kubewright certs rotate-service-account -i INVENTORY    # it had the key that signs every token",
            "kubewright encryption rotate -i INVENTORY               # it had the key that Secrets are encrypted with",
        ]
    return (*lines, "it was not emptied: its certificates are valid until they expire; to end them at once:", *commands)
