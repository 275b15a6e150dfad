"""One run at a time on a cluster: `flock` on each master, held by a process on the run's own SSH session.

The session of a dead laptop ends, and so does its lock. A file beside the lock names the holder.
"""

from __future__ import annotations

import getpass
import json
import shlex
import socket
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from kubewright.errors import Failed
from kubewright.hosts.host import Host

# In /run: a lock does not survive a power cut.
PATH, HOLDER = "/run/kubewright.run.lock", "/run/kubewright.run.holder"
BUSY = 75

# File descriptor 8 is inherited by `cat`, which ends when the session does.
HOLD = f"""umask 077; exec 8>>{PATH} || exit 71
flock -n 8 || {{ cat {HOLDER} 2>/dev/null; exit {BUSY}; }}
IFS= read -r holder; printf '%s pid=%s\\n' "$holder" $$ > {HOLDER}.new; mv -f {HOLDER}.new {HOLDER}
echo held; cat >/dev/null; rm -f {HOLDER}
"""

# Only a process that has the lock open is killed, even if the record names another.
BREAK = f"""pid=$(sed -n 's/.* pid=\\([0-9]*\\)$/\\1/p' {HOLDER} 2>/dev/null)
[ -n "$pid" ] && [ "$(readlink /proc/$pid/fd/8)" = {shlex.quote(PATH)} ] || exit 0
for p in $(cat /proc/$pid/task/$pid/children) $pid; do kill $p; done
i=0; until flock -n {PATH} true; do i=$((i+1)); [ $i -lt 50 ] || exit 1; sleep 0.1; done
"""


@dataclass(frozen=True, kw_only=True)
class Holder:
    """Who holds the lock: a person at a machine, since when (Unix time), doing what."""

    who: str
    where: str
    since: float
    verb: str
    run: str

    def __str__(self) -> str:
        since = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(self.since))
        return f"{self.who} at {self.where} since {since}, doing `{self.verb}` (run {self.run})"


def holder(verb: str, run: str) -> Holder:
    """This process as a holder."""
    return Holder(who=getpass.getuser(), where=socket.gethostname(), since=time.time(), verb=verb, run=run)


def describe(line: str) -> str:
    """A holder's line as words; an unknown holder when it can't be read."""
    try:
        return str(Holder(**json.loads(line.partition(" pid=")[0])))
    except (ValueError, TypeError):
        return "an unnamed run"


class Lock:
    """Held from `acquire` until `release`, or until the process ends."""

    def __init__(self, masters: Sequence[Host], mine: Holder, *, break_held: bool = False) -> None:
        # Sorted: two runs ask in the same order, so they cannot deadlock.
        self._masters = sorted(masters, key=lambda host: host.name)
        self._line, self._break = json.dumps(asdict(mine)), break_held
        self.broken: list[str] = []

    def acquire(self) -> None:
        """Failed, with the holder's name, when another run has it; the locks taken so far are released."""
        for host in self._masters:
            said = host.hold(self._line)
            if said is not None and self._break:
                self.broken.append(f"{host.name}: {describe(said)}")
                host.break_hold()
                said = host.hold(self._line)
            if said is not None:
                self.release()
                raise Failed(
                    f"{host.name}: another run is at work: {describe(said)}; wait for it, "
                    "or if its machine is gone and its connection half open: kubewright apply -i INVENTORY --break-lock"
                )

    def release(self) -> None:
        for host in self._masters:
            host.let_go()
