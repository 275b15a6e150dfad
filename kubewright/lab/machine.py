"""Settings of the whole machine that labs change: recorded before the first lab, restored after the last.

A record is complete before the change, and is never overwritten while it exists. So a lab's own setting is never recorded as
the machine's, even after a kill.
"""

from __future__ import annotations

from pathlib import Path

from kubewright import disk
from kubewright.lab import cgroup, network, sysctls
from kubewright.lab.model import HOME

_BOOT = HOME / "boot-id"
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_CONTROLLERS = HOME / "controllers"


def take() -> None:
    """Record, then change: sysctls, the controllers of the top cgroup, the folder of network namespaces."""
    boot = _BOOT_ID.read_text()
    if _BOOT.exists() and _BOOT.read_text() != boot:
        # The machine has rebooted: its changes are gone, and so are their records.
        for record in (sysctls.RECORD, _CONTROLLERS, network.RECORD):
            record.unlink(missing_ok=True)
    _write(_BOOT, boot)
    sysctls.raise_all()
    missing = cgroup.not_handed_on()
    if missing and not _CONTROLLERS.exists():
        _write(_CONTROLLERS, " ".join(missing))
    cgroup.hand_on(missing)
    network.record()


def put_back() -> None:
    """Undo `take`, for the recorded settings only."""
    network.unmount()
    sysctls.put_back()
    if _CONTROLLERS.exists():
        cgroup.withdraw(_CONTROLLERS.read_text().split())
        _CONTROLLERS.unlink()
    _BOOT.unlink(missing_ok=True)


def _write(path: Path, text: str) -> None:
    disk.replace(path, text.encode(), mode=0o644)
