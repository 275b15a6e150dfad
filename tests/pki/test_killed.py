"""After a kill during the issue of certificates, the next run makes the rest, with the same authorities."""

from __future__ import annotations

import datetime as dt
import signal
import subprocess
import sys
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from pki import certificates
from pki.certificates import Subject
from pki.decisions import Authority, Leaf, Policy, carry_out
from pki.store import INDEX, PRIVATE, Store

NOW = dt.datetime(2026, 11, 21, 10, tzinfo=dt.UTC)
AUTHORITIES = (Authority(name="ca/kubernetes", common_name="kubernetes-ca"), Authority(name="ca/etcd", common_name="etcd-ca"))
PAIR = "service-account"
LEAVES = tuple(
    Leaf(
        name=f"server/{host}",
        authority=authority.name,
        subject=Subject(common_name=host, usages=("server",), addresses=(IPv4Address("192.0.2.11"),)),
    )
    for authority, host in zip(AUTHORITIES, ("m1", "m2"), strict=True)
)
POLICY = Policy(algorithm="ecdsa-p256", ca_days=3650, leaf_days=365, renew_before_days=90)
# Each file is synced, and then its folder: two fsync a file.
MOMENTS = {
    "before it is written": ("fsync", 2, -1),
    "before it is in place": ("fchmod", 1, 0),
    "before its folder is written": ("fsync", 2, 0),
}


def issue(folder: Path) -> Store:
    store = Store(folder)
    carry_out(AUTHORITIES, LEAVES, (PAIR,), store, POLICY, NOW)
    return store


# Authorities' keys, the index, leaves' keys, the index: in this order, each one file.
_KILLED = """
import os, signal, sys
from pathlib import Path
from tests.pki.test_killed import issue
call, left = getattr(os, sys.argv[2]), int(sys.argv[3])
def killed(*arguments):
    global left
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return call(*arguments)
setattr(os, sys.argv[2], killed)
issue(Path(sys.argv[1]))
"""


def _authorities(store: Store) -> dict[str, object]:
    return {name: entry for name, entry in store.entries.items() if name.startswith("ca/") or name == PAIR}


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("file", [1, 2, 3, 4])
def test_the_next_run_finishes_with_the_existing_authorities(tmp_path: Path, moment: str, file: int) -> None:
    call, calls, earlier = MOMENTS[moment]
    command = [sys.executable, "-c", _KILLED, str(tmp_path), call, str(file * calls + earlier)]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    left = Store(tmp_path)
    assert not left.incomplete, "the index names a key that is nowhere"
    before = _authorities(left)
    in_place = file if moment == "before its folder is written" else file - 1
    assert len(before) == (3 if in_place >= 2 else 0)

    issue(tmp_path)
    made = Store(tmp_path)
    assert not made.incomplete
    assert before.items() <= _authorities(made).items()
    for leaf in LEAVES:
        held, authority = (certificates.from_pem(made.certificate(name)) for name in (leaf.name, leaf.authority))
        held.verify_directly_issued_by(authority)
    private = sorted(path.name for path in (tmp_path / PRIVATE).parent.iterdir())
    assert private == [".gitignore", ".lock", "keys.json"], "a torn file with keys in it"
    assert sorted(path.name for path in tmp_path.iterdir()) == [".gitignore", INDEX, "secrets"]
