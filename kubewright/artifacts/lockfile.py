"""artifacts.lock: the sums seen at first use, beside the inventory. A different sum is refused later.

A JSON object: upstream's address (also for files from a mirror) to the hex SHA-256 of the file. Commit it, and a whole team
gets the same bytes.
"""

from __future__ import annotations

import fcntl
import json
import os
from dataclasses import dataclass
from pathlib import Path

from kubewright import disk
from kubewright.errors import BadInput, Failed, Problem


@dataclass(frozen=True)
class LockFile:
    """`path` None pins nothing. `adds` false adds nothing to the file."""

    path: Path | None
    adds: bool = True

    def read(self) -> dict[str, str]:
        """The pinned sums. BadInput when the file is not such a JSON object."""
        if self.path is None or not self.path.exists():
            return {}
        try:
            pins = json.loads(self.path.read_bytes())
            if not (isinstance(pins, dict) and all(isinstance(value, str) for value in pins.values())):
                raise ValueError("not an object of strings")
        except ValueError as error:
            problem = Problem(
                where=str(self.path),
                what=f"cannot be read ({error})",
                allowed="a JSON object of addresses and SHA-256 sums",
                todo="restore it from version control, or remove it to pin the sums again",
            )
            raise BadInput([problem]) from error
        return pins

    def check(self, address: str, sha256: str) -> None:
        """Failed when the address is pinned to another sum."""
        pinned = self.read().get(address)
        if pinned is not None and pinned != sha256:
            raise Failed(
                f"{address}: the published sum is {sha256}, but {self.path} pins {pinned}; what was released has "
                "changed. Find out why before you go on; to take the new one, remove its line from that file"
            )

    def pin(self, address: str, sha256: str) -> None:
        """Add the sum, if the address has none yet. Two processes at once lose nothing."""
        if self.path is None or not self.adds:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.path.parent, os.O_RDONLY)  # the file itself is replaced, so its lock would be lost
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            self.check(address, sha256)
            pins = self.read()
            if address not in pins:
                text = json.dumps(dict(sorted({**pins, address: sha256}.items())), indent=1) + "\n"
                disk.replace(self.path, text.encode(), mode=0o644)
        finally:
            fcntl.flock(descriptor, fcntl.LOCK_UN)  # gevent's os.close closes later
            os.close(descriptor)
