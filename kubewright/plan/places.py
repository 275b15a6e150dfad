"""What roles say of their folders, put together: what is observed on a host, and what a reset empties. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from kubewright.observe.observed import OWN
from kubewright.observe.places import Places
from kubewright.plan.role import Folder, Role


def _folders(roles: Sequence[Role]) -> list[Folder]:
    return [folder for role in roles for folder in role.folders]


def places(roles: Sequence[Role]) -> Places:
    """What is observed."""
    data = [folder.path for folder in _folders(roles) if folder.holds == "data"]
    paths = [path for role in roles for path in role.paths]
    return Places(
        folders=tuple(sorted({folder.path for folder in _folders(roles) if folder.holds == "files"})),
        alone=tuple(sorted({*data, *paths, *OWN})),
    )


def emptied(roles: Sequence[Role]) -> tuple[str, ...]:
    """The folders that a reset empties and removes."""
    return tuple(sorted({folder.path for folder in _folders(roles) if not folder.shared}))


def left_to_others(roles: Sequence[Role]) -> tuple[str, ...]:
    """The folders that a reset removes only when they are empty, the deepest first."""
    return tuple(sorted({folder.path for folder in _folders(roles) if folder.shared}, reverse=True))
