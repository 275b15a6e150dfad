"""The base image below all hosts: a Debian (or Ubuntu) root file system, made once with mmdebstrap."""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from kubewright.errors import Failed
from kubewright.lab.model import cache_folder
from kubewright.lab.sources import codename, machine_sources

Say = Callable[[str], None]

PACKAGES = (
    "systemd", "systemd-sysv", "dbus", "openssh-server", "sudo", "iproute2", "iputils-ping", "procps", "kmod", "curl",
    "ca-certificates", "libseccomp2", "iptables", "nftables", "ipset", "conntrack", "ethtool", "socat", "haproxy", "zstd",
)  # fmt: skip
"""The packages of a host, and those that the base role would install: hosts in a lab cannot download any."""

MASKED = (
    "apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer", "e2scrub_all.timer", "fstrim.timer",
    "systemd-tmpfiles-clean.timer", "console-getty.service", "getty.target", "systemd-logind.service", "haproxy.service",
    "systemd-udevd.service", "systemd-udev-trigger.service", "systemd-networkd-wait-online.service", "nftables.service",
    "systemd-journal-flush.service", "sys-kernel-debug.mount", "sys-kernel-tracing.mount", "systemd-remount-fs.service",
    "systemd-modules-load.service", "e2scrub_reap.service", "systemd-firstboot.service", "dev-hugepages.mount",
)  # fmt: skip
"""Units that a host without hardware, terminal or network access has no use for."""


OS_RELEASE = Path("/etc/os-release")


def _setup(root: Path) -> None:
    """Turn the file system into a host: users, sshd, no needless units."""

    def run(*command: str) -> None:
        done = subprocess.run(["chroot", str(root), *command], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise Failed(f"the base image: {' '.join(command)}: {done.stderr.strip()}")

    for number, user in enumerate(("ops", "admin")):
        run("useradd", "--uid", str(1000 + number), "--user-group", "--create-home", "--shell", "/bin/bash", user)
    (root / "etc/sudoers.d/lab").write_text("ops ALL=(ALL) NOPASSWD: ALL\nadmin ALL=(ALL) ALL\n")
    (root / "etc/sudoers.d/lab").chmod(0o440)
    if (root / "etc/systemd/system/sockets.target.wants/ssh.socket").is_symlink():
        # Ubuntu's sshd is started by its first connection.
        run("systemctl", "--quiet", "disable", "ssh.socket")
        run("systemctl", "--quiet", "enable", "ssh.service")
    for unit in MASKED:
        (root / "etc/systemd/system" / unit).unlink(missing_ok=True)
        (root / "etc/systemd/system" / unit).symlink_to("/dev/null")
    for key in (root / "etc/ssh").glob("ssh_host_*"):
        key.unlink()
    (root / "etc/ssh/sshd_config.d/lab.conf").write_text(
        "HostKey /etc/ssh/ssh_host_ed25519_key\nPasswordAuthentication no\nUseDNS no\nMaxStartups 100\nMaxSessions 100\n"
    )
    # Hosts write these files themselves, since the kernel's settings are the machine's.
    for path in (root / "usr/lib/sysctl.d").glob("*.conf"):
        path.unlink()
    (root / "etc/machine-id").write_text("")
    (root / "etc/resolv.conf").unlink(missing_ok=True)
    (root / "etc/resolv.conf").write_text("nameserver 10.90.0.1\n")
    (root / "etc/systemd/journald.conf.d").mkdir(parents=True, exist_ok=True)
    (root / "etc/systemd/journald.conf.d/lab.conf").write_text(
        "[Journal]\nStorage=persistent\nSystemMaxUse=200M\nReadKMsg=no\nRateLimitBurst=0\n"
    )


def _clean(folder: Path) -> None:
    """Remove the leftovers of killed builds, of this recipe and of earlier ones, after unmounting any mounts there."""
    for leftover in sorted(folder.glob("*.new")):
        below = f"{leftover}/"
        mounts = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
        for mount in sorted((m for m in mounts if m.startswith(below)), reverse=True):
            # A mount of the machine's own /dev or /sys may be under it: never removed into.
            subprocess.run(["umount", mount], check=True)
        shutil.rmtree(leftover)


def _build(target: Path, suite: str, say: Say) -> None:
    _clean(target.parent)
    temporary = target.with_suffix(".new")
    say(f"making the hosts' base image ({suite}), once")
    log = target.with_suffix(".log")
    with log.open("w") as output:
        done = subprocess.run(
            # In a PID namespace that dies with this process, so that nothing writes there after `up` is killed.
            ["setpriv", "--pdeathsig", "KILL", "unshare", "--pid", "--fork", "--kill-child=KILL", "--mount-proc",
             "mmdebstrap", "--mode=root", "--variant=minbase", f"--include={','.join(PACKAGES)}",
             suite, str(temporary), *map(str, machine_sources(suite))],
            stdout=output,
            stderr=subprocess.STDOUT,
            check=False,
        )  # fmt: skip
    if done.returncode != 0:
        raise Failed(f"the base image could not be made; see {log}, then run the same command again")
    _setup(temporary)
    temporary.replace(target)


def base_image(say: Say) -> Path:
    """The base image's root, made if it is missing. Safe for two processes at once."""
    suite = codename(OS_RELEASE.read_text())
    recipe = f"{suite} {PACKAGES} {MASKED} {Path(__file__).read_text()}"
    folder = cache_folder()
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"base-{suite}-{hashlib.sha256(recipe.encode()).hexdigest()[:12]}"
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not target.exists():
            _build(target, suite, say)
    return target
