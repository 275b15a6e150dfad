"""An upgrade under stock pyinfra: deploy/upgrade.py."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

from pyinfra.api.exceptions import PyinfraError

from kubewright.errors import KubewrightError
from kubewright.plan.move import EVICTION_SECONDS, Move
from kubewright.plan.wave import Wave
from kubewright.releases import Release, release_for
from kubewright.run.run import Run
from kubewright.run.stock import Stock, stock_of
from kubewright.verbs.upgrade import telling
from kubewright.verbs.upgrade.moving import Checks
from kubewright.verbs.upgrade.naming import spec_for, write_release


@cache
def upgrade_for(inventory: Path, waves: tuple[Wave, ...], to: str, *, max_unavailable: str = "", seconds: str = "") -> Stock:
    """The one of that inventory: a deploy is executed once a host. Options are text, empty for their defaults.

    PyinfraError, which ends pyinfra before any operation, when they or cluster.yaml are wrong.
    """
    if not to:
        raise PyinfraError("nothing was changed: name the release: --data to=1.37.1")
    try:
        target = release_for(to)
        move = Move(
            verb="upgrade",
            target=target,
            max_unavailable=_number("max_unavailable", max_unavailable, 1),
            eviction_seconds=_number("pod_eviction_timeout", seconds, EVICTION_SECONDS),
        )
        spec = spec_for(inventory, target)
    except KubewrightError as error:
        raise PyinfraError(f"nothing was changed:\n{error}") from error
    stock = stock_of(inventory, spec, waves, verb="upgrade")
    for run in (stock.run, stock.look):
        run.move, run.further = move, Checks(move=move)
    stock.look.accept = told  # before pyinfra asks
    return replace(stock, after=_writing(inventory, target))


def told(run: Run) -> None:
    """Say what a person should know, and what can't be taken back."""
    found = run.further
    assert isinstance(found, Checks)
    for line in (*found.remarks, *telling.announced(found.running, found.move)):
        run.say(f"note: {line}")


def _number(name: str, given: str, otherwise: int) -> int:
    if given and not (given.isdecimal() and int(given)):
        raise PyinfraError(f"nothing was changed: {name} is no number from 1 on ({given})")
    return int(given) if given else otherwise


def _writing(inventory: Path, target: Release) -> Callable[[Run], None]:
    def after(run: Run) -> None:
        if not write_release(inventory, target):
            run.say(f'write kubernetes: "{target.kubernetes}" into cluster.yaml by hand: the place of its value can\'t be told')

    return after
