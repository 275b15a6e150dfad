"""The supported Kubernetes releases, and the versions of the other components.

One containerd, runc, flannel and CoreDNS serve every release, so an upgrade changes only Kubernetes and etcd. All versions
are written without a leading `v`.
"""

from __future__ import annotations

from dataclasses import dataclass

from kubewright.errors import BadInput, Problem
from kubewright.releases.version import Version


@dataclass(frozen=True, kw_only=True)
class Release:
    """One Kubernetes release with the versions of everything installed beside it."""

    kubernetes: str
    etcd: str
    pause: str
    """kubeadm's PauseVersion in that release."""
    agnhost: str
    """test/images/agnhost/VERSION in that release: the test image, never part of a real cluster."""
    containerd: str = "2.4.2"
    runc: str = "1.5.2"
    cni_plugins: str = "1.9.1"
    cni_flannel: str = "1.9.1-flannel1"
    flannel: str = "0.28.9"
    coredns: str = "1.15.0"
    crictl: str = "1.36.0"
    metrics_server: str = "0.9.0"
    traefik: str = "3.7.13"
    local_path: str = "0.0.30"
    kube2sky: str = "1.0.0"
    """kubewright's own program: raise it when kubewright/artifacts/kube2sky changes."""

    @property
    def version(self) -> Version:
        return Version.parse(self.kubernetes)


class UnknownRelease(BadInput, KeyError):
    """A version that is not in the table. Exit code 3; a KeyError too, for callers that look up."""

    __str__ = BadInput.__str__  # KeyError's would show the repr


# etcd 3.6 for 1.35 and 1.36: only 3.6.11 or later can be upgraded to 3.7.
SUPPORTED: tuple[Release, ...] = (
    Release(kubernetes="1.35.4", etcd="3.6.14", pause="3.10.1", agnhost="2.59"),
    Release(kubernetes="1.36.3", etcd="3.6.14", pause="3.10.2", agnhost="2.63.0"),
    Release(kubernetes="1.37.0", etcd="3.7.3", pause="3.10.2", agnhost="2.66.1"),
    Release(kubernetes="1.37.1", etcd="3.7.3", pause="3.10.2", agnhost="2.66.1"),
)
DEFAULT: Release = SUPPORTED[-1]


def release_for(version: str) -> Release:
    """The release of exactly that version (`1.37.1` or `v1.37.1`). Raises UnknownRelease."""
    wanted = version.strip().removeprefix("v")
    for release in SUPPORTED:
        if release.kubernetes == wanted:
            return release
    allowed = ", ".join(release.kubernetes for release in SUPPORTED)
    raise UnknownRelease(
        [
            Problem(
                where="kubernetes version",
                what=f"not supported ({version})",
                allowed=f"supported: {allowed}",
                todo=f"choose one of them; the default is {DEFAULT.kubernetes}",
            )
        ]
    )
