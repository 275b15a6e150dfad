"""What a person writes: `load` reads an inventory's cluster.yaml, checked, or says all that is wrong with it."""

from kubewright.spec.load import load, loads
from kubewright.spec.model import ClusterSpec, HostSpec, Role
from kubewright.spec.sections import Api, Artifacts, ExtraArgs, HostSsh, Network, Pki, Ssh

__all__ = [
    "Api",
    "Artifacts",
    "ClusterSpec",
    "ExtraArgs",
    "HostSpec",
    "HostSsh",
    "Network",
    "Pki",
    "Role",
    "Ssh",
    "load",
    "loads",
]
