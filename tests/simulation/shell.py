"""act.sh on a machine in memory: exactly the lines that kubewright/hosts/script.py writes, one after the other.

Each takes time, and the process can be killed after each.
"""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Callable
from typing import Any

from kubewright.hosts.script import Staged, _prelude
from kubewright.model.places import HOME, STATE
from tests.simulation import probes
from tests.simulation.fleet import Fleet

POLL = 5.0
"""Seconds between two looks at a unit's readiness; act.sh looks more often."""


class Ended(Exception):
    """The script ended early. `status` is its exit status."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


class Shell:
    """One process on one host. `tick` takes time, and raises when the process must stop."""

    def __init__(self, fleet: Fleet, host: str, staged: Staged, run: int, tick: Callable[[], None]) -> None:
        self.fleet, self.host, self.run, self.tick = fleet, host, run, tick
        self.machine, self.files = fleet.machines[host], staged.files

    def execute(self) -> None:
        text = self.files["act.sh"].decode()
        if not text.startswith(_prelude()):
            raise probes.Unknown("act.sh does not begin with the prelude")
        for line in text.removeprefix(_prelude()).strip().splitlines():
            self.tick()
            self.fleet.revive(self.host)
            self._line(line)

    def _line(self, line: str) -> None:
        for pattern, method in _FORMS:
            if found := pattern.fullmatch(line):
                method(self, *found.groups())
                return
        raise probes.Unknown(f"a line of act.sh: {line}")

    def _need(self, held: bool, why: str, status: int = 1) -> None:
        if not held:
            raise Ended(status, why)

    def _text(self, name: str) -> str:
        return self.files[name].decode()

    def gate(self, staged: str, unit: str) -> None:
        passed = probes.asks(self.fleet, self.host, self._text(staged))
        self._need(passed, f"refused: {unit} is not restarted", 75)

    def packages(self, names: str) -> None:
        self.machine.packages |= set(names.split())

    def user(self, name: str) -> None:
        self.machine.users.add(name)

    def directory(self, owner: str, group: str, mode: str, path: str) -> None:
        self._need(owner in ("root", *self.machine.users, *self.machine.base.users), f"no user {owner}")
        self.machine.parents(path)
        self.machine.directory(path, owner, group, int(mode, 8))

    def place(self, staged: str, path: str, owner: str, group: str, mode: str) -> None:
        (path,) = shlex.split(path)
        self.fleet.put(self.host, "file", path)
        new = f"{path}.kubewright"
        self.machine.write(new, self.files[staged], owner, group, int(mode, 8))
        self.tick()
        self.machine.move(new, path)

    def link(self, path: str, target: str) -> None:
        self.fleet.put(self.host, "link", path)
        self.machine.link(f"{path}.kubewright", target)
        self.tick()
        self.machine.move(f"{path}.kubewright", path)

    def reload(self) -> None:
        self.machine.reload()

    def enable(self, unit: str) -> None:
        self.fleet.put(self.host, "unit", unit)
        self.machine.service(unit).enabled = True

    def before_stop(self, staged: str) -> None:
        done = probes.transfer(self.fleet, self.host, self._text(staged))
        self._need(done, "etcd does not say who it is")

    def reset(self, unit: str) -> None:
        pass

    def unstick(self, unit: str) -> None:
        pass  # in the simulation a running start never delays a restart

    def proxy(self) -> None:
        pass  # the simulation has no packages to install

    def forget(self, unit: str) -> None:
        self.machine.remove(f"{STATE}/started/{unit}")

    def begin(self, seconds: str | None, verb: str, unit: str) -> None:
        until = self.fleet.clock.now + (int(seconds) if seconds else math.inf)
        service = self.machine.service(unit)
        if not service.read:
            self.machine.reload()
        if verb == "restart" and service.running:
            self.fleet.stop(self.host, unit, self.run)
            self.tick()
        if not service.running and not self.fleet.start(self.host, unit):
            # systemd knows the readiness of notifying units only; the probe finds out about the others.
            self._need(not self.fleet.waits_for(unit), f"{unit} is not ready", 70)
        while self.fleet.waits_for(unit) and not self.fleet.ready(self.host, unit):
            self._need(self.fleet.clock.now < until, f"{unit} is not ready", 70)
            self.tick()
            self.fleet.clock.sleep(POLL)

    def reread(self, unit: str) -> None:
        self._need(self.fleet.reload(self.host, unit), f"{unit} is not running", 70)

    def wait(self, unit: str, seconds: str, staged: str) -> None:
        until = self.fleet.clock.now + int(seconds)
        while not probes.asks(self.fleet, self.host, self._text(staged)):
            self._need(self.fleet.clock.now < until, f"{unit} is not ready", 70)
            self.tick()
            self.fleet.clock.sleep(POLL)

    def stay(self, unit: str, seconds: str, staged: str) -> None:
        until = self.fleet.clock.now + int(seconds)
        while self.fleet.clock.now < until:
            self._need(probes.asks(self.fleet, self.host, self._text(staged)), f"{unit} is not ready", 70)
            self.tick()
            self.fleet.clock.sleep(POLL)

    def drop(self, name: str, version: str) -> None:
        self.fleet.dropped(self.host, f"{HOME}/{name}/{version}")

    def late(self, path: str, staged: str) -> None:
        done = probes.applied(self.fleet, self.host, self._text(staged), self.run)
        self._need(done, f"{path} was not applied")

    def task(self, content: str, staged: str) -> None:
        done = probes.done(self.fleet, self.host, self._text(staged), self._text(content), self.tick)
        self._need(done, "the task failed")


_Method = Callable[..., Any]
_FORMS: tuple[tuple[re.Pattern[str], _Method], ...] = tuple(
    (re.compile(form), method)
    for form, method in (
        (r"sh -u (gate\.\d+) >&2 \|\| \{ say 'refused: (\S+) is not restarted'; exit 75; \}", Shell.gate),
        (r"stay_ready (\S+) (\d+) (ready\.\d+)", Shell.stay),
        (r"export DEBIAN_FRONTEND=.* install -y --no-install-recommends (.*) >/dev/null", Shell.packages),
        (r"proxy_o(?:n|ff)", Shell.proxy),
        (r"dnf -q -y install (.*)", Shell.packages),
        (r"id -u \S+ >/dev/null 2>&1 \|\| useradd --system .* (\S+)", Shell.user),
        (r"install -d -o (\S+) -g (\S+) -m (\d{4}) (\S+)", Shell.directory),
        (r"place (\S+) (\S+) (\S+) (\S+) (\d{4})", Shell.place),
        (r"link (\S+) (\S+)", Shell.link),
        (r"systemctl daemon-reload", Shell.reload),
        (r"systemctl enable -q (\S+)", Shell.enable),
        (r"sh -eu (before\.\d+) >&2", Shell.before_stop),
        (r"systemctl reset-failed -q (\S+) 2>/dev/null \|\| true", Shell.reset),
        (r"(?:timeout (\d+) )?systemctl (start|restart) (\S+) \|\| failed \S+", Shell.begin),
        (r"timeout \d+ systemctl reload (\S+) \|\| failed \S+", Shell.reread),
        (r"unstick (\S+)", Shell.unstick),
        (r"rm -f /var/lib/kubewright/started/(\S+)", Shell.forget),
        (r"wait_ready (\S+) (\d+) (ready\.\d+)", Shell.wait),
        (r"drop (\S+) (\S+)", Shell.drop),
        (r"export here new=\$here/late\.\d+ path=(\S+); sh -eu (apply\.\d+)", Shell.late),
        (r"export here new=\$here/(task\.\d+); sh -eu (do\.\d+)", Shell.task),
    )
)
