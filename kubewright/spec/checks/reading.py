"""The content of a file that cluster.yaml names."""

from __future__ import annotations

from pathlib import Path

from pki.fault import Fault


def content_of(path: Path) -> bytes | Fault:
    """Its bytes, or why it can't be read."""
    try:
        # A named pipe would wait for a writer.
        if path.is_file():
            return path.read_bytes()
        reason = "no regular file" if path.exists() else "no such file"
    except (OSError, ValueError) as error:
        reason = (getattr(error, "strerror", None) or "unreadable").lower()
    return Fault(what=reason, allowed="a file in PEM that you can read", todo="correct the path")
