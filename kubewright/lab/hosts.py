"""Booting hosts and cutting their power."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from kubewright.errors import Failed
from kubewright.lab import cgroup
from kubewright.lab.model import Lab, LabHost
from kubewright.lab.namespace import inside

BOOT_SECONDS, SHARE_SECONDS = 70, 4
"""The time limit until all sshds answer, and the extra time for each host: hosts share the machine's cores."""
_BOOT = Path(__file__).with_name("boot.sh")


def folder(lab: Lab, host: LabHost) -> Path:
    return lab.folder / "hosts" / host.name


def create(lab: Lab, host: LabHost) -> None:
    """Make the host's folder, with its differences from the base image. Starts nothing."""
    place = folder(lab, host)
    for name in (
        "upper/etc/ssh",
        "upper/root/.ssh",
        "upper/home/ops/.ssh",
        "upper/home/admin/.ssh",
        "work",
        "root",
        "containerd",
        "kubelet",
    ):
        (place / name).mkdir(parents=True, exist_ok=True)
    upper = place / "upper"
    (upper / "etc/hostname").write_text(f"{host.name}\n")
    (upper / "etc/hosts").write_text(f"127.0.0.1 localhost\n{host.address} {host.name}\n")
    (upper / "etc/machine-id").write_text(f"{secrets.token_hex(16)}\n")
    _keys(lab, upper)
    _shadow(lab, upper)


def _keys(lab: Lab, upper: Path) -> None:
    authorized = lab.key.with_suffix(".pub").read_text()
    # The users' IDs: the base image creates ops, then admin.
    for home, user in (("root", 0), ("home/ops", 1000), ("home/admin", 1001)):
        place = upper / home / ".ssh"
        (place / "authorized_keys").write_text(authorized)
        for path in ((upper / home), place, place / "authorized_keys"):
            os.chown(path, user, user)
        place.parent.chmod(0o700)
        place.chmod(0o700)
    key = upper / "etc/ssh/ssh_host_ed25519_key"
    key.unlink(missing_ok=True)
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(key)], check=True)


def _shadow(lab: Lab, upper: Path) -> None:
    """Give `admin` the lab's sudo password, by its hash."""
    base = Path((lab.folder / "base").read_text())
    hashed = subprocess.run(
        ["openssl", "passwd", "-6", "-stdin"],
        input=lab.sudo_password.read_text(),
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    lines = (base / "etc/shadow").read_text().splitlines()
    changed = [f"admin:{hashed}:{line.split(':', 2)[2]}" if line.startswith("admin:") else line for line in lines]
    shadow = upper / "etc/shadow"
    shadow.touch(mode=0o640)
    shadow.write_text("\n".join(changed) + "\n")
    shutil.chown(shadow, 0, 42)


def host_key(lab: Lab, host: LabHost) -> str:
    """Its line of known_hosts."""
    public = (folder(lab, host) / "upper/etc/ssh/ssh_host_ed25519_key.pub").read_text().split()
    return f"{host.address} {public[0]} {public[1]}\n"


def boot(lab: Lab, host: LabHost) -> None:
    """Switch it on. It is in its cgroups before anything else, so that `kill` finds every process of it."""
    place, layers = folder(lab, host), (lab.folder / "layers").read_text()
    (place / "console.log").touch(mode=0o600)
    shutil.rmtree(place / "work", ignore_errors=True)
    (place / "work").mkdir()
    tag = lab.tag(host.name)
    procs = [str(path / "cgroup.procs") for path in cgroup.make(tag)]
    join = 'for f; do [ "$f" = -- ] && break; echo $$ > "$f" || exit 1; shift; done; shift; exec "$@"'
    namespaces = ["--mount", "--pid", "--ipc", "--uts", "--cgroup", "--fork", "--propagation", "private"]
    command = [
        "nsenter",
        f"--net=/run/netns/{tag}",
        "unshare",
        *namespaces,
        "sh",
        str(_BOOT),
        host.name,
        layers,
        str(place),
    ]
    with (place / "boot.log").open("ab") as log:
        started = subprocess.Popen(
            ["sh", "-c", join, "sh", *procs, "--", *command],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    with contextlib.suppress(ProcessLookupError):  # it has just ended: boot.log says why, and `wait` names that file
        while started.poll() is None and not cgroup.step_aside(tag, started.pid):
            time.sleep(0.005)


def _answers(host: LabHost) -> bool:
    try:
        with socket.create_connection((str(host.address), 22), timeout=1) as connection:
            return connection.recv(4) == b"SSH-"
    except OSError:
        return False


def wait(lab: Lab, hosts: Sequence[LabHost]) -> None:
    """Wait until sshd answers on all of them. Failed, with the log to read, when one does not in time."""
    deadline = time.monotonic() + BOOT_SECONDS + SHARE_SECONDS * len(hosts)
    waiting = list(hosts)
    with inside(lab):
        while waiting := [host for host in waiting if not _answers(host)]:
            if time.monotonic() > deadline:
                names = ", ".join(host.name for host in waiting)
                raise Failed(f"lab {lab.name}: no sshd answers on {names}; see boot.log and console.log under {lab.folder}/hosts")
            time.sleep(0.1)


def cut(lab_name: str, tag: str) -> None:
    """Cut the power: kill its processes at once and wait until they are gone. Failed when they stay for 30 s."""
    deadline = time.monotonic() + 30
    while True:
        # Both, each time: a process may be gone from the list a moment before its cgroup is free, and one that a
        # killed `up` had just started may enter after the list was read.
        if not cgroup.kill(tag):
            with contextlib.suppress(OSError):
                cgroup.remove(tag)
                return
        if time.monotonic() > deadline:
            raise Failed(f"lab {lab_name}: processes of {tag} do not end: {cgroup.processes(tag)}")
        time.sleep(0.02)
