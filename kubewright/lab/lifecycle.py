"""A lab as a whole: up, down, start, stop, rebuild, status. Each can be killed at any moment and run again."""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kubewright import disk
from kubewright.errors import Failed
from kubewright.lab import cgroup, hosts, machine, network, requirements
from kubewright.lab.base import Say, base_image
from kubewright.lab.model import HOME, USER, Lab, is_made, load, require_name, save


@contextlib.contextmanager
def _locked() -> Iterator[None]:
    """One command at a time: labs share the machine's settings. HostsUnfit when the caller is not root."""
    requirements.require_root()
    # A folder that always exists: a lock file would stay behind, or be removed while another process waits for it.
    lock = os.open("/var/lib", os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        # The short-lived programs started meanwhile hold the lock too, until they end (`network` passes it on).
        os.set_inheritable(lock, True)
        HOME.mkdir(mode=0o755, parents=True, exist_ok=True)
        yield
    finally:
        os.close(lock)


def up(lab: Lab, say: Say, *, layer: Path | None = None) -> None:
    """Make the lab and switch its hosts on. HostsUnfit when the machine lacks something; Failed when it is up already.

    `layer` is a folder (no `:` or `,` in its path) between the base image and every host: files that many hosts share exist
    once. Hosts only read it, and it must exist as long as the lab.
    """
    requirements.require()
    base = base_image(say)
    with _locked():
        # Without lab.json these are the leftovers of a killed `up`: remove them.
        if running(lab.name) and is_made(lab.name):
            raise Failed(f"lab {lab.name}: it is up; take it down first: kubewright lab down --name {lab.name}")
        _remove(lab.name)
        lab.folder.mkdir(mode=0o755, parents=True)
        machine.take()
        (lab.folder / "base").write_text(str(base))
        (lab.folder / "layers").write_text(f"{layer}:{base}" if layer else str(base))
        disk.replace(lab.sudo_password, secrets.token_urlsafe(12).encode())
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", f"lab {lab.name}", "-f", str(lab.key)], check=True)
        network.make(lab)
        for host in lab.hosts:
            network.plug(lab, host)
            hosts.create(lab, host)
        lab.known_hosts.write_text("".join(hosts.host_key(lab, host) for host in lab.hosts))
        say(f"booting {', '.join(host.name for host in lab.hosts)}")
        for host in lab.hosts:
            hosts.boot(lab, host)
        try:
            hosts.wait(lab, lab.hosts)
        finally:
            # Written even if a host does not answer, so that a person can look at it; a killed `up` writes none, and the
            # next one starts over.
            save(lab)


def running(name: str) -> bool:
    """Whether a process of that lab is alive."""
    return any(cgroup.processes(tag) for tag in cgroup.tags(f"kw.{name}."))


def down(name: str) -> None:
    """Remove the lab completely, if there is one. Failed when its processes do not end."""
    require_name(name)
    with _locked():
        _remove(name)
        if not any(path.is_dir() for path in HOME.iterdir()):
            machine.put_back()
            for folder in (HOME, HOME.parent):
                with contextlib.suppress(OSError):
                    folder.rmdir()


def _remove(name: str) -> None:
    for tag in sorted(cgroup.tags(f"kw.{name}.")):
        hosts.cut(name, tag)
    network.remove(name)
    # Twice: a program that a killed `up` started may write one more file during the first pass.
    shutil.rmtree(HOME / name, ignore_errors=True)
    if (HOME / name).exists():
        shutil.rmtree(HOME / name)


def stop(lab: Lab, name: str) -> None:
    """The power button: every process of that host ends at once, and its address does not answer. The host stays off."""
    host = lab.host(name)
    with _locked():
        hosts.cut(lab.name, lab.tag(host.name))
        network.unplug(lab, host)


def start(lab: Lab, names: tuple[str, ...] = ()) -> None:
    """Switch those hosts (all) on and wait until they answer; also after a reboot of the machine. Running hosts stay
    untouched."""
    wanted = [lab.host(name) for name in names] or list(lab.hosts)
    with _locked():
        machine.take()
        network.make(lab)
        for host in wanted:
            if not cgroup.processes(lab.tag(host.name)):
                network.plug(lab, host)
                hosts.boot(lab, host)
    hosts.wait(lab, wanted)


def rebuild(lab: Lab, name: str) -> None:
    """Replace a host: the same name and address, an empty disk, another machine-id and SSH host key. It answers afterwards.

    The lab's known_hosts has the new key: the lab knows it from the host's own disk.
    """
    host = lab.host(name)
    with _locked():
        hosts.cut(lab.name, lab.tag(host.name))
        shutil.rmtree(hosts.folder(lab, host), ignore_errors=True)
        machine.take()
        network.make(lab)
        network.plug(lab, host)
        hosts.create(lab, host)
        others = [line for line in lab.known_hosts.read_text().splitlines() if line.split()[0] != str(host.address)]
        lab.known_hosts.write_text("".join(f"{line}\n" for line in others) + hosts.host_key(lab, host))
        hosts.boot(lab, host)
    hosts.wait(lab, [host])


def status(name: str) -> dict[str, Any]:
    """`{"name", "namespace", "user", "key", "hosts": [{"name", "address", "state"}]}`. Failed when there is no such lab."""
    lab = load(name)
    return {
        "name": lab.name,
        "namespace": lab.namespace,
        "user": USER,
        "key": str(lab.key),
        "hosts": [
            {
                "name": host.name,
                "address": str(host.address),
                "state": "running" if cgroup.processes(lab.tag(host.name)) else "stopped",
            }
            for host in lab.hosts
        ],
    }
