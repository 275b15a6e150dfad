"""Settings of the whole machine that kubelets and many hosts need: recorded before the first lab, restored after the last."""

from __future__ import annotations

import json
from pathlib import Path

from kubewright import disk
from kubewright.lab.model import HOME

WANTED = {
    # kubelet writes these at its start, and fails if it cannot. /proc/sys/{kernel,vm} is read-only inside hosts, so a host
    # changes nothing; kubelet does not write a value that is already set.
    # Source: pkg/kubelet/cm/container_manager_linux.go, setupKernelTunables.
    "vm/overcommit_memory": "1",
    "vm/panic_on_oom": "0",
    "kernel/panic": "10",
    "kernel/panic_on_oops": "1",
    "kernel/keys/root_maxkeys": "1000000",
    "kernel/keys/root_maxbytes": "25000000",
    # Five hosts use up the default of 128.
    "fs/inotify/max_user_instances": "8192",
    "fs/inotify/max_user_watches": "1048576",
}
RECORD = HOME / "sysctls.json"
_SYS = Path("/proc/sys")


def raise_all() -> None:
    """Record the current values, once, then set the wanted ones."""
    if not RECORD.exists():
        before = {name: (_SYS / name).read_text().strip() for name in WANTED}
        disk.replace(RECORD, json.dumps(before).encode(), mode=0o644)
    for name, value in WANTED.items():
        path = _SYS / name
        # Limits are only ever raised.
        if not name.startswith("fs/") or int(path.read_text()) < int(value):
            path.write_text(value)


def put_back() -> None:
    """Undo `raise_all`, if there is a record."""
    if not RECORD.exists():
        return
    for name, value in json.loads(RECORD.read_text()).items():
        (_SYS / name).write_text(value)
    RECORD.unlink()
