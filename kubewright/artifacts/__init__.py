"""Where binaries and images come from: one interface over upstream's releases, a mirror, an offline folder and builds
from Go modules. `obtain_all` is what most callers want."""

from kubewright.artifacts.at_hand import at_hand
from kubewright.artifacts.cache import Cache
from kubewright.artifacts.directory import export, publish
from kubewright.artifacts.model import (
    ARCHES,
    UNKNOWN,
    Artifact,
    Bundle,
    ImageArtifact,
    Missing,
    Say,
    SourceConfig,
    SourceKind,
    Wanted,
    agnhost,
    catalogue,
    distribution,
    kube_bench,
    published_name,
)
from kubewright.artifacts.sources import obtain, obtain_all, obtain_images

__all__ = [
    "ARCHES",
    "UNKNOWN",
    "Artifact",
    "Bundle",
    "Cache",
    "ImageArtifact",
    "Missing",
    "Say",
    "SourceConfig",
    "SourceKind",
    "Wanted",
    "agnhost",
    "at_hand",
    "catalogue",
    "distribution",
    "export",
    "kube_bench",
    "obtain",
    "obtain_all",
    "obtain_images",
    "publish",
    "published_name",
]
