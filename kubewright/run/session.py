"""A session: connections to the hosts, the cluster's lock and the journal. It knows no role's files and judges nothing."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gevent

from kubewright.errors import Failed, HostsUnfit, Problem
from kubewright.hosts.host import Host
from kubewright.hosts.lock import Holder, Lock, holder
from kubewright.model.build import make_plan
from kubewright.model.cluster import Plan
from kubewright.observe.observed import Observed
from kubewright.plan import peers
from kubewright.plan.role import Role
from kubewright.run.events import Event, nobody
from kubewright.run.journal import Journal, new_id
from kubewright.spec import ClusterSpec

if TYPE_CHECKING:
    from kubewright.hosts.remote import Remote  # paramiko is not to be loaded before `connection` has patched sockets


@dataclass(kw_only=True)
class Session:
    """Carries one plan, or with `lasting` several, one after the other, under one lock and in one journal.

    The lock is taken before the first change, so a session that changes nothing takes none.
    """

    inventory: Path
    spec: ClusterSpec
    roles: Sequence[Role]
    verb: str = "apply"
    without: frozenset[str] = frozenset()
    """Hosts that are left out."""
    break_lock: bool = False
    deep: bool = False
    """Hosts rehash their binaries when they are observed; otherwise their manifests are read."""
    lasting: bool = False
    """It is ended by who opened it, not by the end of a plan."""
    notify: Callable[[Event], None] = nobody
    hosts: dict[str, Host] = field(default_factory=dict)
    remotes: dict[str, Remote] = field(default_factory=dict)
    """A root shell on each of `hosts`; empty where hosts are no real ones."""
    observed: dict[str, Observed] = field(default_factory=dict)
    """Each host as it was last observed."""
    seen_at: dict[str, float] = field(default_factory=dict)
    """When that was, in Unix time."""
    unreachable: list[Problem] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.plan = replace(make_plan(self.spec), absent=self.without)
        self.peer_ports = peers.peer_ports(self.plan, self.roles)
        self.locked = False
        """Whether this session has the cluster's lock."""
        self.journal: Journal | None = None
        self._lock: Lock | None = None
        self._mine: Holder | None = None
        self._ended = False
        self._connected: dict[str, Host] = {}

    def turn_to(self, plan: Plan) -> None:
        """The session's next plan. Hosts that it does not name keep their connections, and are not asked."""
        self._connected = self.everyone
        names = {node.name for node in plan.nodes}
        self.plan = replace(plan, absent=self.without & names)
        self.peer_ports = peers.peer_ports(self.plan, self.roles)
        self.hosts = {name: host for name, host in self._connected.items() if name in names}
        self.observed, self.seen_at = {}, {}

    @property
    def everyone(self) -> dict[str, Host]:
        """Every connected host, also those that the plan does not name."""
        return self._connected | self.hosts

    def forget(self, name: str) -> None:
        """A host was emptied: nothing more is written down on it."""
        if self.journal is not None:
            self.journal.leave_out(name)

    def say(self, text: str) -> None:
        self.notify(Event(kind="say", text=text))

    # -- observing

    def observe(self, name: str) -> None:
        """Ask one host; a failure is kept in `unreachable`, so that all hosts' problems are reported at once."""
        try:
            self.see(name)
        except Failed as error:
            what, _, todo = str(error).removeprefix(f"{name}: ").partition("; ")
            self.unreachable.append(Problem(where=name, what=what, allowed="", todo=todo))

    def see(self, name: str) -> None:
        """Ask one host. Failed when it does not answer."""
        self.observed[name] = self.hosts[name].observe()
        self.seen_at[name] = time.time()

    def observe_all(self) -> None:
        """HostsUnfit, with each host that does not answer."""
        gevent.joinall([gevent.spawn(self.observe, name) for name in self.hosts], raise_error=True)
        if self.unreachable:
            raise HostsUnfit(self.unreachable)

    # -- changing

    def take_lock(self) -> None:
        """Take the cluster's lock, unless this session has it. Failed, naming the holder, when another run has it."""
        if self.locked:
            return
        self._mine = holder(self.verb, new_id())
        # Known before it is taken: where a master fails meanwhile, `end` releases those that were taken.
        self._lock = Lock(self._masters(), self._mine, break_held=self.break_lock)
        self._lock.acquire()
        self.locked = True
        for line in self._lock.broken:
            self.say(f"took the lock from {line}")

    def begin(self, *, on_masters: bool = True, **facts: Any) -> None:
        """Write down that changes begin, unless this session has. The lock is taken before."""
        if self.journal is None:
            assert self.locked and self._mine is not None, "the lock is taken before anything is changed"
            self.journal = Journal(self.inventory, self._mine, self._masters() if on_masters else [])
            self.journal.begin(**facts)

    def note(self, role: str, host: str, sentences: Sequence[str]) -> None:
        """Write down what was changed on a host."""
        if self.journal is not None:
            self.journal.step(role, host, sentences)

    def plan_ended(self, failure: Exception | None) -> None:
        """A plan has ended. The session ends with it, unless it lasts and the plan did not fail."""
        if failure is not None or not self.lasting:
            self.end(failure)

    def end(self, failure: BaseException | None = None) -> None:
        """Write down how it went and release the lock. Nothing when nothing began, or again."""
        if self._ended:
            return
        self._ended = True
        try:
            if self.journal is not None:
                self.journal.end("failed" if failure else "done", error=str(failure or ""))
        finally:
            if self._lock is not None:
                self._lock.release()
            self.locked = False

    def _masters(self) -> list[Host]:
        return [self.hosts[n.name] for n in self.plan.masters if n.name in self.hosts]
