"""Folders of a host that several layers name."""

from __future__ import annotations

HOME = "/opt/kubewright"
"""Versioned folders of binaries and image archives on a host."""
STATE = "/var/lib/kubewright"
"""kubewright's own records on a host: what each unit was last started with."""
