"""`kubewright certs`: the store's certificates, their places, and those that an external CA signs. Asks no host."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from kubewright.model.build import make_plan
from kubewright.model.certificates import OPERATOR, leaves
from kubewright.plan.role import Role
from kubewright.plan.uses import Use, uses
from kubewright.spec import ClusterSpec, load
from kubewright.spec.checks.authorities import external_cas
from pki import decisions, encryption, planned, requests, status
from pki.authorities import AUTHORITIES, SERVICE_ACCOUNT, authorities
from pki.status import Line, Served
from pki.store import Store
from pki.vault import Vault, password_from


@dataclass(frozen=True, kw_only=True)
class Status:
    """`threshold`: days. `served`: the certificates that listeners serve, None when they were not asked."""

    lines: tuple[Line, ...]
    uses: dict[str, list[Use]]
    threshold: int
    awaited: tuple[str, ...]
    """Leaves that an external CA must sign, renewals included."""
    gone: tuple[Line, ...] = ()
    """Leaves of removed hosts, or of a host's removed roles."""
    served: Served | None = None

    @property
    def expiring(self) -> tuple[Line, ...]:
        return tuple(line for line in self.lines if line.expires_within(self.threshold))

    @property
    def unknown(self) -> tuple[str, ...]:
        """Listeners that serve a certificate outside the store: mostly an older one."""
        return status.unknown((*self.lines, *self.gone), self.served or {})

    def serves(self, line: Line) -> tuple[str, ...]:
        hosts = list(dict.fromkeys(use.host for use in self.uses.get(line.name, ())))
        return status.serves(line, hosts, self.served or {})


def opened(inventory: Path, *, rotating: str = "") -> tuple[ClusterSpec, Store]:
    """The spec, and the store with its vault. `rotating`: as in `load`."""
    spec = load(inventory, rotating=rotating)
    return spec, Store(inventory, Vault(password_from(spec.secrets.password_file)))


def look(inventory: Path, roles: Sequence[Role], *, days: int | None = None, served: Served | None = None) -> Status:
    """The certificates of an inventory. Opens no key. `days` replaces pki.renew_before_days."""
    spec, store, now = *opened(inventory), dt.datetime.now(dt.UTC)
    plan, three = make_plan(spec), authorities(external_cas(spec.pki))
    decided = decisions.decide(three, leaves(plan), (SERVICE_ACCOUNT,), store, plan.certificates, now)
    entries = planned.planned(store.entries, (*decided, encryption.decide(store)), three)
    where = uses(plan, roles, entries, [a.name for a in AUTHORITIES])
    lines = status.lines(store.entries, now)
    for line in lines:
        if line.kind == "operator" and line.name == OPERATOR.name:
            where[line.name] = [Use(host="this machine", path=str(inventory / "admin.kubeconfig"), restarts=())]
    gone = status.of_gone_hosts(lines, {leaf.name for leaf in leaves(plan)})
    return Status(
        lines=tuple(line for line in lines if line not in gone),
        gone=gone,
        uses=where,
        threshold=plan.certificates.renew_before_days if days is None else days,
        awaited=tuple(leaf.name for leaf in requests.wanted(leaves(plan), decided)),
        served=served,
    )


def write_requests(inventory: Path, folder: Path) -> tuple[Path, ...]:
    """Write a request for every leaf that an external CA must sign, and return the files. First imports the external CAs of
    cluster.yaml into the store."""
    spec, store, now = *opened(inventory), dt.datetime.now(dt.UTC)
    plan, three = make_plan(spec), authorities(external_cas(spec.pki))
    with store.locked():
        decided = decisions.decide(three, leaves(plan), (SERVICE_ACCOUNT,), store, plan.certificates, now)
        decisions.bring_in(three, decided, store)
        wanted = requests.wanted(leaves(plan), decided)
        return requests.write(folder, requests.prepare(wanted, store, plan.certificates), wanted)


def take_in(inventory: Path, paths: Iterable[Path]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Import signed certificates into the store. Returns the imported leaves, and those still missing. BadInput with every
    problem, and nothing imported."""
    spec, store, now = *opened(inventory), dt.datetime.now(dt.UTC)
    plan, three = make_plan(spec), authorities(external_cas(spec.pki))
    with store.locked():
        came = requests.take_in(paths, leaves(plan), store, now)
        decided = decisions.decide(three, leaves(plan), (SERVICE_ACCOUNT,), store, plan.certificates, now)
    return came, tuple(leaf.name for leaf in requests.wanted(leaves(plan), decided))
