"""The archives of images that cluster.yaml names, taken for the hosts' architectures."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from kubewright.artifacts import Cache, Say
from kubewright.artifacts.archives import Unusable, obtain, read
from kubewright.artifacts.model import Archive
from kubewright.errors import Failed, HostsUnfit, Problem


def taken(
    paths: Sequence[Path], architectures: Collection[str], cache: Cache, say: Say, *, keep: bool
) -> Mapping[str, tuple[Archive, ...]]:
    """The archives by architecture, of those `architectures` of hosts that run pods. HostsUnfit, naming each archive that has
    images for none of them; Failed when one has become unusable. `keep`: as `obtain` has it."""
    found: dict[str, list[Archive]] = {arch: [] for arch in architectures}
    problems = []
    for number, path in enumerate(paths):
        try:
            fit = read(path).arches & set(architectures)
            archive = obtain(path, cache, say, keep=keep) if fit else None
            has = ", ".join(sorted(read(path).arches))
        except (Unusable, OSError) as error:
            raise Failed(f"{path}: {error}; write the archive again, then run the same command again") from None
        if archive is None:
            problems.append(
                Problem(
                    where=f"images.archives[{number}]",
                    what=f"no image for the hosts' architecture ({path}: {has})",
                    allowed=f"images for {' or '.join(sorted(architectures))}",
                    todo="name an archive for that architecture",
                )
            )
        for arch in fit:
            assert archive is not None
            found[arch].append(archive)
    if problems:
        raise HostsUnfit(problems)
    return {arch: tuple(each) for arch, each in found.items()}
