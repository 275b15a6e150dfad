"""spec -> pyinfra's inventory: connection settings of each host, in pyinfra's words."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from kubewright.errors import BadInput, Problem
from kubewright.spec import ClusterSpec, HostSpec, load, ssh_key

# Paramiko would choose AES in counter mode with a MAC of its own, at half the speed of GCM in one pass.
_SLOW_CIPHERS = ["aes128-ctr", "aes192-ctr", "aes256-ctr", "aes128-cbc", "aes192-cbc", "aes256-cbc", "3des-cbc"]


def sudo_password(spec: ClusterSpec, host: HostSpec) -> str | None:
    """The sudo password that the spec names for `host`, None when it names none. BadInput when it cannot be read."""
    ssh = spec.ssh_of(host)
    where = f"cluster.yaml {host.name} ssh"
    if ssh.sudo_password_env:
        if value := os.environ.get(ssh.sudo_password_env):
            return value
        raise BadInput(
            [
                Problem(
                    where=f"{where}.sudo_password_env",
                    what=f"the environment variable is not set ({ssh.sudo_password_env})",
                    allowed="one that holds the sudo password",
                    todo=f"export {ssh.sudo_password_env} in the shell that runs this",
                )
            ]
        )
    if ssh.sudo_password_file is None:
        return None
    path = Path(ssh.sudo_password_file)
    if stat.S_IMODE(path.stat().st_mode) & 0o077:
        raise BadInput(
            [
                Problem(
                    where=f"{where}.sudo_password_file",
                    what=f"others can read it ({path})",
                    allowed="mode 0600",
                    todo=f"chmod 600 {path}",
                )
            ]
        )
    return path.read_text().rstrip("\n")


def host_data(spec: ClusterSpec, host: HostSpec, inventory: Path, connection: socket.socket | None = None) -> dict[str, Any]:
    """pyinfra's data for one host, and the `connection` to use if there is one. It holds paths, never a password."""
    ssh = spec.ssh_of(host)
    data: dict[str, Any] = {
        "kubewright_inventory": str(inventory),
        "ssh_hostname": str(ssh.host),
        "ssh_port": ssh.port,
        "ssh_user": ssh.user,
        "ssh_strict_host_key_checking": "yes",
        "ssh_paramiko_connect_kwargs": {"disabled_algorithms": {"ciphers": _SLOW_CIPHERS}},
    }
    if connection:
        data["ssh_paramiko_connect_kwargs"]["sock"] = connection
    if ssh.key and (key := _from_agent(ssh.key)):
        data["ssh_paramiko_connect_kwargs"]["pkey"] = key
        data |= {"ssh_allow_agent": False, "ssh_look_for_keys": False}
    elif ssh.key:
        data["ssh_key"] = str(ssh.key)
    if ssh.known_hosts:
        data["ssh_known_hosts_file"] = str(ssh.known_hosts)
    if ssh.jump:
        data["ssh_config_file"] = str(_jump_config(inventory, str(ssh.host), ssh.jump))
    return data


def _from_agent(path: Path) -> Any:
    """The SSH agent's key, when the file itself can't be loaded and the agent holds the same. It signs over its own
    connection to the agent, since hosts are connected in parallel and an agent connection answers one request at a time."""
    if ssh_key.usable(path):
        return None
    from paramiko.agent import Agent  # after gevent has patched sockets

    public = ssh_key.public_key(path)
    return next((key for key in Agent().get_keys() if key.asbytes() == public), None)


def _jump_config(inventory: Path, host: str, jump: str) -> Path:
    # pyinfra takes a jump host from an ssh_config only.
    path = inventory / "logs" / f"ssh_config.{host}"
    path.parent.mkdir(exist_ok=True)
    # Without an entry for the jump host's key, pyinfra would ask at the terminal.
    name = jump.rpartition("@")[2].partition(":")[0]
    path.write_text(f"Host {host}\n  ProxyJump {jump}\nHost {name}\n  StrictHostKeyChecking yes\nHost *\nInclude ~/.ssh/config\n")
    return path


Group = list[tuple[str, dict[str, Any]]]
"""Names and data of hosts, as pyinfra takes them."""


def pyinfra_groups(inventory: Path) -> tuple[Group, Group, Group]:
    """The groups `masters`, `workers` and `etcd` of an inventory.py, from the cluster.yaml beside it. BadInput as `load`."""
    spec = load(inventory)
    data = {host.name: host_data(spec, host, inventory) for host in spec.hosts}

    def group(hosts: Iterable[HostSpec]) -> Group:
        return [(host.name, data[host.name]) for host in hosts]

    return group(spec.masters), group(spec.workers), group(spec.etcd_hosts)
