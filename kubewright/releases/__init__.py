"""Supported versions, the versions that belong together, and flag histories. Pure data; imports nothing heavy."""

from kubewright.releases.flags import FLAGS, Present, Removed, Row, removed
from kubewright.releases.table import DEFAULT, SUPPORTED, Release, UnknownRelease, release_for
from kubewright.releases.version import Version

__all__ = [
    "DEFAULT",
    "FLAGS",
    "SUPPORTED",
    "Present",
    "Release",
    "Removed",
    "Row",
    "UnknownRelease",
    "Version",
    "release_for",
    "removed",
]
