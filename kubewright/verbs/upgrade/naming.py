"""The release that cluster.yaml names: another one for a move, and written into it at the end."""

from __future__ import annotations

from pathlib import Path

from kubewright import disk
from kubewright.errors import BadInput, Problem
from kubewright.releases import Release
from kubewright.spec import ClusterSpec, load
from kubewright.spec.load import loads, require, spec_file
from kubewright.spec.release import with_release


def spec_for(inventory: Path, target: Release) -> ClusterSpec:
    """The spec with that release. BadInput with everything that the release does not know, by its line."""
    path = spec_file(inventory)
    edited = with_release(require(inventory), target.kubernetes)
    if edited is None:
        load(inventory)  # has the better message, when the file is no cluster.yaml at all
        raise BadInput(
            [
                Problem(
                    where=f"{path.name} kubernetes",
                    what="its value can't be replaced",
                    allowed='one line of its own: kubernetes: "1.37.1"',
                    todo="write it so",
                )
            ]
        )
    return loads(edited, folder=path.absolute().parent, name=path.name)


def write_release(inventory: Path, target: Release) -> bool:
    """Let cluster.yaml name the release. Whether it does."""
    raw, path = require(inventory), spec_file(inventory)
    if load(inventory).kubernetes == target.kubernetes:
        return True
    edited = with_release(raw, target.kubernetes)
    if edited is None:
        return False
    disk.replace(path, edited, mode=path.stat().st_mode & 0o777)
    return True
