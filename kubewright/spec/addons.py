"""The add-ons that a cluster.yaml names: those that kubewright has, and folders of a user's own manifests."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, WithJsonSchema
from pydantic_core.core_schema import ValidationInfo

from kubewright.releases.addons import BUILT_IN
from kubewright.spec.shapes import LABEL
from kubewright.spec.wording import closest, refused

_PACKAGE = Path(__file__).parents[1]
FOLDER = next(f for f in (_PACKAGE / "_addons", _PACKAGE.with_name("addons")) if f.is_dir())
"""The manifests of the built-in add-ons: in the wheel inside the package, in a checkout beside it."""
NAME = LABEL
"""A regular expression for the name of an add-on: labels and ConfigMaps carry it."""


@dataclass(frozen=True, kw_only=True)
class Addon:
    """One add-on. A user's own one is called like its folder."""

    name: str
    folder: Path
    own: bool
    """Whether it is a user's own folder."""

    def __str__(self) -> str:
        return str(self.folder) if self.own else self.name


@dataclass(frozen=True, kw_only=True)
class Manifests:
    """An add-on with the Kubernetes objects in its folder, as JSON: frozen, so that a plan can hold them."""

    name: str
    own: bool
    text: str
    """A list of objects. Those of built-in add-ons hold `${NAME}` where a value belongs."""

    @cached_property
    def objects(self) -> Sequence[dict[str, Any]]:
        return tuple(json.loads(self.text))


def _addon(value: object, info: ValidationInfo) -> Addon:
    if isinstance(value, Addon):
        return value
    allowed = f"{', '.join(BUILT_IN)}, or a path with a slash to a folder of manifests"
    if not isinstance(value, str) or not value.strip("/.") or not value.isprintable():
        raise refused("not an add-on", allowed=allowed, todo="write a name, or a path like ./manifests")
    if value in BUILT_IN:
        return Addon(name=value, folder=FOLDER / value, own=False)
    if "/" not in value:
        guess = closest(value, BUILT_IN)
        todo = f"did you mean {guess}?" if guess else f"for a folder, write ./{value}"
        raise refused("unknown add-on", allowed=allowed, todo=todo)
    try:
        folder = Path((info.context or {}).get("folder", Path.cwd())) / Path(value).expanduser()
    except RuntimeError:
        raise refused("a home folder that is not there", allowed="~ or ~user", todo="write it out") from None
    return Addon(name=folder.name, folder=folder, own=True)


AddonText = Annotated[Addon, BeforeValidator(_addon), WithJsonSchema({"type": "string", "minLength": 1})]
"""A setting: the name of a built-in add-on, or the path of a folder, relative to that of cluster.yaml."""
