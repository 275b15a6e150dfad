"""Replacing a key or an authority of a live cluster, stage by stage: the hosts get the stage, the cluster shows that it holds,
and the next stage follows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from kubewright.verbs.apply import Summary
from pki.stages import Stage


class Rotation(Protocol):
    """A key or an authority that is replaced. Every method raises `kubewright.errors.Failed`; the same command then resumes."""

    def stage(self) -> Stage:
        """How far the store says it is."""

    def prove(self, stage: Stage) -> None:
        """Once every host has `stage`: do the rest of it on the live cluster, and return when the cluster shows that it holds."""

    def advance(self, stage: Stage) -> None:
        """In the store, from `stage` to the next."""


def rotate(rotation: Rotation, bring: Callable[[], Summary], say: Callable[[str], None]) -> Summary:
    """A whole rotation, or the rest of one that was interrupted. `bring`: an apply, to what the store says.

    The last summary: when it has a failure, the rotation stays in the stage it is in.
    """
    # First: a rotation begins on hosts that are as the store says.
    summary = bring()
    if summary.failure is None and rotation.stage() is Stage.SETTLED:
        rotation.advance(Stage.SETTLED)
    while summary.failure is None and (stage := rotation.stage()) is not Stage.SETTLED:
        say(f"stage {stage}")
        summary = bring()
        if summary.failure is None:
            rotation.prove(stage)
            rotation.advance(stage)
    return summary
