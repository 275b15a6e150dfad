"""The add-ons that kubewright has: the images of each, and the ports that it takes on hosts. Data.

`addons/NAME/` has the manifests. The images' versions are in `releases/table.py`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

METRICS_SERVER_PORT = 10270
TRAEFIK_PING_PORT = 10271


@dataclass(frozen=True, kw_only=True)
class BuiltIn:
    """One add-on. Its pods are on the hosts' own network where it has `ports`."""

    images: tuple[str, ...] = ()
    """Short names. kubewright sends them to hosts; any other image of the add-on comes from a registry."""
    ports: tuple[int, ...] = ()
    """TCP ports on its hosts."""


BUILT_IN = {
    "headlamp": BuiltIn(),
    "local-path": BuiltIn(images=("local-path-provisioner", "local-path-helper")),
    "metrics-server": BuiltIn(images=("metrics-server",), ports=(METRICS_SERVER_PORT,)),
    "traefik": BuiltIn(images=("traefik",), ports=(80, 443, TRAEFIK_PING_PORT)),
}


def images_of(addons: Iterable[str]) -> tuple[str, ...]:
    """The short names of the images that those add-ons need; a user's own add-on needs none."""
    return tuple(image for name in addons if name in BUILT_IN for image in BUILT_IN[name].images)
