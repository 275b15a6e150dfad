"""The simulated clusters: their specs, a store filled once for each, and roles that render each file once."""

from __future__ import annotations

import functools
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from deploy.waves import CLUSTER, ROLES, ROLLBACK
from kubewright.artifacts import Bundle
from kubewright.model.build import make_plan
from kubewright.model.cluster import Plan
from kubewright.model.lineage import Lineage
from kubewright.observe.live import live_of
from kubewright.observe.observed import Observed
from kubewright.plan import leftovers, record, transition
from kubewright.plan.changes import Changes, all_changes
from kubewright.plan.context import Context
from kubewright.plan.desired import Desired
from kubewright.plan.role import Role
from kubewright.plan.together import together
from kubewright.plan.wave import Wave, roles_of
from kubewright.releases import DEFAULT, Release
from kubewright.releases import systems as tables
from kubewright.spec import ClusterSpec
from pki.store import INDEX, PRIVATE, Store
from tests.support.scenarios import fake_bundle, filled_store, recorded

NOTHING: tuple[tuple[str, str, str], ...] = ()


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """One spec. `flags`: (component, flag, value) beyond our own; `left`: roles left out of this plan."""

    masters: int
    workers: int
    flags: tuple[tuple[str, str, str], ...] = NOTHING
    names: tuple[str, ...] = ()
    left: frozenset[str] = frozenset()
    network: tuple[tuple[str, str], ...] = ()
    """Settings of `network`."""
    kubernetes: str = DEFAULT.kubernetes
    names_of: tuple[str, ...] = ()
    """The hosts, when they are not the first `masters` and `workers`."""

    @property
    def host_names(self) -> tuple[str, ...]:
        first = (("m", self.masters), ("w", self.workers))
        return self.names_of or tuple(f"{kind}{i}" for kind, count in first for i in range(1, count + 1))

    def text(self) -> dict[str, Any]:
        hosts: list[dict[str, Any]] = [
            {"name": name, "address": f"192.0.2.{(10 if name[0] == 'm' else 30) + int(name[1:])}",
             "roles": ["master" if name[0] == "m" else "worker"]}
            for name in self.host_names
        ]  # fmt: skip
        extra: dict[str, dict[str, str]] = {}
        for component, flag, value in self.flags:
            extra.setdefault(component, {})[flag] = value
        return {
            "name": "sim", "kubernetes": self.kubernetes, "hosts": hosts, "extra_args": extra,
            "api": {"extra_sans": list(self.names)}, "network": dict(self.network),
        }  # fmt: skip

    @functools.cached_property
    def spec(self) -> ClusterSpec:
        return ClusterSpec.model_validate(self.text(), context={"folder": Path("/nonexistent")})

    @functools.cached_property
    def plan(self) -> Plan:
        return make_plan(self.spec)

    @functools.cached_property
    def roles(self) -> tuple[Role, ...]:
        return roles_of(self.waves)

    @functools.cached_property
    def waves(self) -> tuple[Wave, ...]:
        kept = ((wave, [role for role in wave.roles if role.name not in self.left]) for wave in CLUSTER)
        return tuple(replace(wave, roles=tuple(_remembering(role, self) for role in roles)) for wave, roles in kept if roles)

    @functools.cached_property
    def back(self) -> tuple[Wave, ...]:
        """The same waves in the order of a rollback."""
        own = {wave.title: wave for wave in self.waves}
        return tuple(own[wave.title] for wave in ROLLBACK if wave.title in own)

    @functools.cached_property
    def units(self) -> frozenset[str]:
        return frozenset(unit for role in ROLES for unit in role.units)

    def write(self, folder: Path) -> None:
        with (folder / "cluster.yaml").open("w") as file:
            YAML().dump(self.text(), file)

    def lineage(self, observed: Mapping[str, Observed]) -> Lineage:
        """The record of a cluster with those hosts."""
        live = live_of(observed)
        return record.wanted(transition.record_of(live, None), live, self.plan, observed)

    def context(self, name: str, observed: Mapping[str, Observed], store: Store, lineage: Lineage | None = None) -> Context:
        host = observed[name]
        system = tables.system_of(host.os_id, host.os_version)
        assert system is not None
        return Context(
            plan=self.plan, node=self.plan.node(name), observed=host, system=system,
            certificates=store.entries, bundle=bundle(self.plan.release), lineage=lineage,
            together=together(self.plan, observed),
        )  # fmt: skip

    def pending(self, context: Context) -> dict[str, Changes]:
        """The remaining changes of that host, computed outside of any run."""
        wanted, observed = leftovers.everything(self.roles, context), context.observed
        return {role: found for role, found in all_changes(wanted, observed).items() if found}


@functools.cache
def bundle(release: Release) -> Bundle:
    return fake_bundle(release)


_RENDERED: dict[tuple[object, ...], Desired] = {}


def _remembering(role: Role, cluster: Cluster) -> Role:
    """`desired` is pure, so its results are cached."""

    def desired(context: Context) -> Desired:
        sums = tuple(entry.key_sha256 for _, entry in sorted(context.certificates.items()))
        lineage = context.lineage.text() if context.lineage else ""
        plan = context.plan
        members = (
            plan.joining,
            plan.leaving,
            plan.gone,
            context.joining,
            context.learning,
            tuple((n.name, n.is_etcd, n.taints) for n in plan.nodes),
        )
        key = (role.name, cluster, members, context.node.name, context.observed.programs, context.together, sums, lineage)
        if key not in _RENDERED:
            _RENDERED[key] = role.desired(context)
        return _RENDERED[key]

    return replace(role, desired=desired)


@functools.cache
def machine_base() -> Observed:
    host = recorded("debian12-cgroup1")
    return replace(host, entries={}, manifest={}, units={}, started_with={}, free_kib={"/opt": 9 << 20}, installed=())


@functools.cache
def _filled(masters: int, workers: int) -> Path:
    import datetime as dt

    folder = Path(tempfile.mkdtemp(prefix="kubewright-simulation-"))
    filled_store(Cluster(masters=masters, workers=workers).plan, folder, dt.datetime.now(dt.UTC))
    return folder


def give_store(cluster: Cluster, folder: Path) -> None:
    """The certificates of such a cluster, issued once for all seeds."""
    source = _filled(cluster.masters, cluster.workers)
    (folder / PRIVATE).parent.mkdir(mode=0o700)
    shutil.copy(source / INDEX, folder / INDEX)
    shutil.copy(source / PRIVATE, folder / PRIVATE)
