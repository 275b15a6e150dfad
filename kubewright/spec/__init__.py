"""cluster.yaml: `load` reads and checks an inventory's file, or reports every problem in it."""

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
