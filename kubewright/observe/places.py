"""Which of a host's files and folders are observed."""

from __future__ import annotations

from dataclasses import dataclass

from kubewright.observe.observed import OWN


@dataclass(frozen=True, kw_only=True)
class Places:
    """Absolute paths. Links into /opt/kubewright are observed beside them (`observed.LINK_FOLDERS`)."""

    folders: tuple[str, ...] = ()
    """Folders whose every file is listed. Regular files up to 1 MiB are hashed, larger ones are known by their manifest."""
    alone: tuple[str, ...] = OWN
    """Files and folders that are listed alone, without what lies in them."""
