"""The section `backup` of cluster.yaml."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from kubewright.spec.sections import Settings


def _off(value: object) -> object:
    """`off` without quotes is false for readers of YAML 1.1."""
    return "off" if value is False else value


class Backup(Settings):
    """Snapshots of etcd that its hosts keep by themselves. `kubewright backup` takes a backup of the whole cluster."""

    snapshots: Annotated[Literal["off", "hourly", "daily"], BeforeValidator(_off)] = "off"
    """How often each etcd host keeps a snapshot in /var/lib/etcd-snapshots, by a systemd timer."""
    keep: Annotated[int, Field(strict=True, ge=1, le=1000)] = 7
    """How many of them stay on a host."""
