"""Where hosts pull images from, and which they import: decided, with credentials read from this machine."""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from kubewright.spec.images import Images as Section
from kubewright.spec.images import Registry as Written
from kubewright.spec.images import canonical, plain_host


@dataclass(frozen=True, kw_only=True)
class Login:
    """A user and the HTTP header `Authorization` with the password. A secret."""

    user: str
    authorization: str = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class Registry:
    """A registry or mirror with a CA (PEM, empty: the host's CAs) or credentials of its own."""

    host: str
    ca: bytes = field(default=b"", repr=False)
    login: Login | None = None
    scheme: str = "https"


@dataclass(frozen=True, kw_only=True)
class Images:
    """The section `images`, decided. Registries by their names for containerd (`*`: all others)."""

    mirrors: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """URLs without a slash at the end."""
    mirrors_only: bool = False
    registries: Mapping[str, Registry] = field(default_factory=dict)
    repository: str = ""
    """What the names of kubewright's own images begin with; empty: their registries."""
    archives: tuple[Path, ...] = ()

    def reference(self, upstream: str) -> str:
        """The name on hosts of kubewright's own image `upstream`."""
        return f"{self.repository}/{upstream.rpartition('/')[2]}" if self.repository else upstream


def decided(section: Section) -> Images:
    """The section of a checked cluster.yaml. Passwords and CAs are read."""
    return Images(
        mirrors={canonical(name): tuple(url.rstrip("/") for url in urls) for name, urls in section.mirrors.items()},
        mirrors_only=section.mirrors_only,
        registries={plain_host(each): _registry(each) for each in section.registries},
        repository=section.image_repository or "",
        archives=section.archives,
    )


def _registry(written: Written) -> Registry:
    return Registry(
        host=plain_host(written),
        ca=written.ca.read_bytes() if written.ca else b"",
        login=_login(written) if written.user else None,
        scheme="http" if written.plain_http else "https",
    )


def _login(written: Written) -> Login:
    assert written.user is not None
    if written.password_file is not None:
        password = written.password_file.read_text().rstrip("\n")
    else:
        password = os.environ.get(written.password_env or "", "")
    together = base64.b64encode(f"{written.user}:{password}".encode()).decode()
    return Login(user=written.user, authorization=f"Basic {together}")
