"""`kubewright certs renew`: an apply that also renews the chosen leaves."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from pathlib import Path

from kubewright.errors import BadInput, Problem
from kubewright.model.build import make_plan
from kubewright.model.certificates import leaves
from kubewright.model.cluster import Plan
from kubewright.plan.wave import Wave
from kubewright.run.events import Event
from kubewright.spec import load
from kubewright.verbs.apply import Summary, apply
from pki import certificates
from pki.store import Store


def renew(
    inventory: Path,
    waves: tuple[Wave, ...],
    notify: Callable[[Event], None],
    *,
    names: Sequence[str] = (),
    every: bool = False,
    days: int | None = None,
) -> Summary:
    """Renew the leaves called `names`, or `every` one, or those with fewer than `days` left, and those that apply would
    renew anyway.

    BadInput when a name is not a leaf's, or an external CA must sign that leaf. A name without its host (`apiserver`)
    is that leaf on every host.
    """
    plan = make_plan(load(inventory))
    chosen = chosen_by_name(plan, names) if not every else frozenset(leaf.name for leaf in leaves(plan))
    if days is not None:
        chosen |= _older(Store(inventory), plan, days)
    _refuse_elsewhere(Store(inventory), plan, chosen)
    return apply(inventory, waves, notify, verb="certs renew", renew=chosen)


def chosen_by_name(plan: Plan, names: Sequence[str]) -> frozenset[str]:
    """The leaves with those names. BadInput with every unknown name."""
    known = [leaf.name for leaf in leaves(plan)]
    found = {name: [k for k in known if k == name or k.startswith(f"{name}/")] for name in names}
    if unknown := [name for name, matches in found.items() if not matches]:
        todo = "see kubewright certs status; authorities are replaced with: kubewright certs rotate-ca"
        kinds = ", ".join(sorted({k.partition("/")[0] for k in known}))
        raise BadInput(
            [
                Problem(
                    where="certs renew",
                    what=f"no such certificate ({name})",
                    allowed=f"one of {kinds}, alone or as NAME/HOST",
                    todo=todo,
                )
                for name in unknown
            ]
        )
    return frozenset(k for matches in found.values() for k in matches)


def _refuse_elsewhere(store: Store, plan: Plan, chosen: frozenset[str]) -> None:
    signers = {leaf.name: leaf.authority for leaf in leaves(plan)}
    elsewhere = sorted(n for n in chosen if (ca := store.entries.get(signers[n])) is not None and not ca.key_sha256)
    if elsewhere:
        raise BadInput(
            Problem(
                where="certs renew",
                what=f"the key of {signers[name]} is kept elsewhere ({name})",
                allowed="certificates whose authority signs here",
                todo="raise pki.renew_before_days above the days it has left, then: kubewright certs requests",
            )
            for name in elsewhere
        )


def _older(store: Store, plan: Plan, days: int) -> frozenset[str]:
    limit = dt.datetime.now(dt.UTC) + dt.timedelta(days=days)
    held = [leaf.name for leaf in leaves(plan) if leaf.name in store.entries]
    return frozenset(n for n in held if certificates.from_pem(store.certificate(n)).not_valid_after_utc < limit)
