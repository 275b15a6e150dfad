"""Edits of a live cluster: every difference between its record, its hosts and a plan, with its class. Pure.

`apply` carries out plain and rolling edits, and refuses the rest before anything is written.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Network

from kubewright.errors import Problem
from kubewright.model.cluster import ETCD_PEER_PORT, Node, Plan
from kubewright.model.lineage import Lineage, newest
from kubewright.observe.live import Host, Live
from kubewright.plan.rules import ADDED, RULES, Edit, Kind, Rule
from kubewright.releases.version import Version


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One difference. `where`: a setting of cluster.yaml, or a host; `was` is the live cluster's value."""

    where: str
    was: str
    wanted: str
    rule: Rule
    release: str = ""
    """The release of cluster.yaml, where the difference is about one."""

    @property
    def kind(self) -> Kind:
        return self.rule.kind

    @property
    def refused(self) -> bool:
        """Whether `apply` refuses it."""
        return self.kind in (Kind.VERB, Kind.REFUSED)

    def __str__(self) -> str:
        way = f"; {self._way}" if self.rule.way else ""
        return f"{self.kind}: {self.where}: {self.rule.title} ({self._change}): {self.rule.effect}{way}"

    @property
    def _change(self) -> str:
        return f"{self.was} -> {self.wanted}" if self.was and self.wanted else self.was or self.wanted

    @property
    def problem(self) -> Problem:
        """The problem, where it is refused."""
        return Problem(
            where=self.where,
            what=f"{self.rule.title} ({self._change}): {self.rule.effect}",
            allowed=self.was if self.rule.keeps else "",
            todo=self._way,
        )

    @property
    def _way(self) -> str:
        return self.rule.way.format(was=self.was, wanted=self.wanted, where=self.where, release=self.release)


RESTORED = (
    RULES["hosts[].roles", Edit.MEMBERS],
    RULES["hosts", Edit.REMOVED],
    RULES["hosts", Edit.LOST],
    *(RULES["kubernetes", edit] for edit in (Edit.PATCH, Edit.UP, Edit.DOWN, Edit.ETCD_UP, Edit.ETCD_DOWN)),
)
"""What a restore decides by itself: etcd gets new members, nodes that the backup has may be gone, and the release is one that
reads the backup. What ran before is stopped: a cluster that was lost during its upgrade has two releases."""


def classify(record: Lineage | None, live: Live, plan: Plan, issued: frozenset[str]) -> tuple[Difference, ...]:
    """Every difference that needs a decision. Empty for hosts without a cluster.

    `record`: the newest of this cluster, None where it has none yet. `issued`: the nodes with certificates from the store;
    they count as ours even if no record names them.
    """
    return (
        *_settings(record, live, plan),
        *_hosts(record, live, plan),
        *_members(record, live, plan),
        *_left(record, live, plan, issued),
        *_versions(live, plan),
    )


def refused(differences: tuple[Difference, ...], *, moves: bool = False) -> list[Problem]:
    """The problems that prevent an apply. `moves`: the run brings another release, so that this is no problem."""
    return [d.problem for d in differences if d.refused and not (moves and d.rule.setting == "kubernetes")]


def record_of(live: Live, copy: Lineage | None) -> Lineage | None:
    """The newest record of this cluster: the hosts', else the `copy` beside the inventory, None where there is no cluster."""
    if not live.hosts:
        return None
    return newest(live.records, live.uid) or newest((copy,) if copy else (), live.uid)


def settings_of(plan: Plan) -> dict[str, str]:
    """The settings that are fixed when a cluster is made, by their place in cluster.yaml."""
    return {
        "name": plan.cluster,
        "api.port": str(plan.api_port),
        "network.services": str(plan.services),
        "network.pods": str(plan.pods),
        "network.pod_prefix_length": str(plan.pod_prefix_length),
        "network.backend": plan.backend,
        "network.domain": plan.domain,
        "network.dns": str(plan.dns_address),
    }


def _settings(record: Lineage | None, live: Live, plan: Plan) -> Iterator[Difference]:
    had = {**live.settings, **(record.settings if record else {})}
    for setting, wanted in settings_of(plan).items():
        if setting in had and had[setting] != wanted:
            rule = RULES[setting, _edit_of(setting, had[setting], plan)]
            yield Difference(where=f"cluster.yaml {setting}", was=had[setting], wanted=wanted, rule=rule)


def _edit_of(setting: str, was: str, plan: Plan) -> Edit:
    if setting == "network.services" and _wider(was, plan.services):
        return Edit.WIDER
    if setting == "network.backend" and "wireguard" in (was, plan.backend):
        return Edit.WIREGUARD
    return Edit.CHANGED


def _wider(was: str, wanted: IPv4Network) -> bool:
    """Whether `wanted` contains `was` and has the same first address: the API and the DNS keep their addresses."""
    before = IPv4Network(was)
    return before.subnet_of(wanted) and before.network_address == wanted.network_address


def _roles(node: Node) -> frozenset[str]:
    parts = {"master": node.is_master, "etcd": node.is_etcd, "node": node.runs_pods}
    return frozenset(part for part, has in parts.items() if has)


def _hosts(record: Lineage | None, live: Live, plan: Plan) -> Iterator[Difference]:
    for node in plan.nodes:
        host = live.hosts.get(node.name)
        if host is None:
            continue
        recorded = record.hosts.get(host.machine_id) if record else None
        name = recorded.name if recorded else host.node
        if name and name != node.name:
            yield Difference(where=node.name, was=name, wanted=node.name, rule=RULES["hosts[].name", Edit.CHANGED])
            continue
        yield from _address(node, host, recorded.address if recorded else "")
        yield from _parts(node, host)


def _address(node: Node, host: Host, recorded: str) -> Iterator[Difference]:
    known = {recorded} if recorded else host.addresses
    for was in sorted(known - {str(node.address)}):
        yield Difference(where=node.name, was=was, wanted=str(node.address), rule=RULES["hosts[].address", Edit.CHANGED])


def _parts(node: Node, host: Host) -> Iterator[Difference]:
    wanted = _roles(node)
    if host.roles and host.roles != wanted:
        was, now = (", ".join(sorted(parts)) for parts in (host.roles, wanted))
        yield Difference(where=node.name, was=was, wanted=now, rule=RULES["hosts[].roles", Edit.CHANGED])


def _members(record: Lineage | None, live: Live, plan: Plan) -> Iterator[Difference]:
    known = live.etcd.members if live.etcd else record.members if record else ()
    if not known:
        return
    planned: dict[str, tuple[str, ...]] = {n.name: (_peer(n),) for n in plan.etcd_members}
    urls = {urls: name for name, urls in planned.items()}
    # A member that was added and has not started yet has no name.
    gone = {(each.peer_url,) for each in plan.gone}
    members = {m.name or urls.get(m.peer_urls, m.id): m.peer_urls for m in known if m.peer_urls not in gone}
    if members == {name: at for name, at in planned.items() if name in members or name not in plan.joining}:
        return
    was, wanted = (", ".join(f"{name}={','.join(at)}" for name, at in sorted(of.items())) for of in (members, planned))
    yield Difference(where="etcd", was=was, wanted=wanted, rule=RULES["hosts[].roles", Edit.MEMBERS])


def _peer(node: Node) -> str:
    return f"https://{node.address}:{ETCD_PEER_PORT}"


def joining(live: Live, plan: Plan) -> frozenset[str]:
    """The hosts whose members were added to the live etcd and have not started yet, and those that `plan` adds."""
    known = {member.peer_urls: member.name for member in live.etcd.members} if live.etcd else {}
    return frozenset(
        node.name
        for node in plan.etcd_members
        if not known.get((_peer(node),), "" if node.name in plan.joining else "not to be added")
    )


def learning(live: Live, plan: Plan) -> frozenset[str]:
    """The hosts whose members have no vote in the live etcd, and those that `plan` adds."""
    urls = {m.peer_urls for m in live.etcd.members if m.id in live.etcd.learners} if live.etcd else set()
    return plan.joining | {node.name for node in plan.etcd_members if (_peer(node),) in urls}


def _left(record: Lineage | None, live: Live, plan: Plan, issued: frozenset[str]) -> Iterator[Difference]:
    planned, ours = {node.name for node in plan.kubelets}, issued | (record.node_names if record else frozenset())
    ours -= {each.name for each in plan.gone}
    renamed = {host.node for name, host in live.hosts.items() if host.node and host.node != name}
    for node in live.api.nodes if live.api else ():
        if node.name in planned or node.name not in ours or node.name in renamed:
            continue
        edit = Edit.REMOVED if node.ready else Edit.LOST
        yield Difference(where=node.name, was=node.address, wanted="", rule=RULES["hosts", edit])


_BINARIES = {
    "kubernetes": ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy"),
    "etcd": ("etcd",),
}


def _versions(live: Live, plan: Plan) -> Iterator[Difference]:
    # etcd's release follows Kubernetes': told apart only where Kubernetes' stays.
    for component, wanted in (("kubernetes", plan.release.kubernetes), ("etcd", plan.release.etcd)):
        found = list(_of_component(live, component, wanted, plan.release.kubernetes))
        yield from found
        if found:
            return


def _of_component(live: Live, component: str, wanted: str, release: str) -> Iterator[Difference]:
    running: dict[str, set[str]] = {}
    for name, host in live.hosts.items():
        for version in {host.versions[binary] for binary in _BINARIES[component] if binary in host.versions}:
            running.setdefault(version, set()).add(name)
    for version, names in sorted(running.items(), key=lambda item: Version.parse(item[0])):
        if (edit := _edit(Version.parse(version), Version.parse(wanted))) is not None:
            if component == "etcd":
                edit = Edit.ETCD_DOWN if edit is Edit.DOWN else Edit.ETCD_UP
            where = f"cluster.yaml kubernetes, {component} on {', '.join(sorted(names))}"
            yield Difference(where=where, was=version, wanted=wanted, rule=RULES["kubernetes", edit], release=release)


def _edit(was: Version, wanted: Version) -> Edit | None:
    if was == wanted:
        return None
    if wanted < was:
        return Edit.DOWN
    return Edit.PATCH if was.line == wanted.line else Edit.UP


def added(live: Live, plan: Plan) -> tuple[Difference, ...]:
    """The hosts that join an existing cluster."""
    if live.api is None:
        return ()
    known = {node.name for node in live.api.nodes}
    return tuple(
        Difference(where=node.name, was="", wanted=str(node.address), rule=ADDED)
        for node in plan.kubelets
        if node.name not in known and node.name not in plan.absent and node.name not in live.hosts
    )
