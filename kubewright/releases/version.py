"""A parsed `major.minor.patch`, with its order. table.py knows the supported versions."""

from __future__ import annotations

import re
from dataclasses import dataclass

_PATTERN = re.compile(r"v?(\d+)\.(\d+)(?:\.(\d+))?(?:[-+].*)?")


@dataclass(frozen=True, order=True)
class Version:
    """Ordered by its three numbers; a pre-release or build suffix (`1.9.1-flannel1`) is not compared."""

    major: int
    minor: int
    patch: int = 0

    @classmethod
    def parse(cls, text: str) -> Version:
        """Accepts `1.37.1`, `v1.37.1` and `1.37` (patch 0); ValueError otherwise."""
        found = _PATTERN.fullmatch(text.strip())
        if not found:
            raise ValueError(f"not a version ({text!r}); major.minor.patch is expected, such as 1.37.1")
        major, minor, patch = found.groups(default="0")
        return cls(int(major), int(minor), int(patch))

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}.{self.patch}"

    @property
    def line(self) -> str:
        """The minor line, `1.37`."""
        return f"{self.major}.{self.minor}"
