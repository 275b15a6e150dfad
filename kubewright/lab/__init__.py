"""Local hosts: system containers on one Linux machine, made by hand as root. No VM, no container engine."""

from kubewright.lab.lifecycle import down, rebuild, start, status, stop, up
from kubewright.lab.model import DEFAULT_HOSTS, DEFAULT_NAME, Lab, LabHost, load, new_lab
from kubewright.lab.namespace import entered

__all__ = [
    "DEFAULT_HOSTS",
    "DEFAULT_NAME",
    "Lab",
    "LabHost",
    "down",
    "entered",
    "load",
    "new_lab",
    "rebuild",
    "start",
    "status",
    "stop",
    "up",
]
