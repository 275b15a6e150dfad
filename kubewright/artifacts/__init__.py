"""Where binaries and images come from: one interface over upstream's releases, a mirror, an offline folder and builds
from Go modules. `obtain_all` is what most callers want."""

from kubewright.artifacts.cache import Cache
from kubewright.artifacts.directory import publish
from kubewright.artifacts.model import (
    ARCHES,
    Artifact,
    Bundle,
    ImageArtifact,
    Say,
    SourceConfig,
    SourceKind,
    Wanted,
    agnhost,
    catalogue,
    kube_bench,
    published_name,
)
from kubewright.artifacts.sources import obtain, obtain_all, obtain_images

__all__ = [
    "ARCHES",
    "Artifact",
    "Bundle",
    "Cache",
    "ImageArtifact",
    "Say",
    "SourceConfig",
    "SourceKind",
    "Wanted",
    "agnhost",
    "catalogue",
    "kube_bench",
    "obtain",
    "obtain_all",
    "obtain_images",
    "publish",
    "published_name",
]
