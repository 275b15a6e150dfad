"""A seed's world: a fleet, an inventory, and the runs over it, each checked at its end."""

from __future__ import annotations

import functools
import hashlib
import random
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from kubewright.observe.observed import Interface
from kubewright.plan.move import Move
from tests.simulation import invariants
from tests.simulation.applying import Apply
from tests.simulation.clusters import Cluster, give_store, machine_base
from tests.simulation.faults import Weather, calm, rough
from tests.simulation.fleet import Fleet
from tests.simulation.machine import Machine


def _fresh(cluster: Cluster) -> dict[str, Machine]:
    machines = {}
    for node in cluster.plan.nodes:
        machine = hashlib.md5(node.name.encode(), usedforsecurity=False).hexdigest()
        own = replace(
            machine_base(),
            hostname=node.name,
            addresses=("127.0.0.1", str(node.address)),
            interfaces={str(node.address): Interface(name="eth1", mtu=1500, mac=f"52:54:{machine[:2]}:{machine[2:4]}")},
            machine_id=machine,
        )
        machines[node.name] = Machine(name=node.name, base=own)
    return machines


@functools.cache
def _installed(cluster: Cluster) -> Fleet:
    """That cluster after an undisturbed run, made once for all seeds."""
    with tempfile.TemporaryDirectory() as folder:
        world = World(0, cluster, Path(folder), installed=False)
        world.finish()
        world.judged()
        for machine in world.fleet.machines.values():
            machine.journal.clear()
            for service in machine.services.values():
                service.ready_at = 0.0
        return world.fleet


class World:
    """`broken`: a sentence for every violated invariant."""

    def __init__(self, seed: int, cluster: Cluster, inventory: Path, *, installed: bool, issued: bool = True) -> None:
        self.seed, self.cluster, self.inventory = seed, cluster, inventory
        self.random = random.Random(seed)  # noqa: S311
        before = _installed(cluster) if installed else Fleet(plan=cluster.plan, machines=_fresh(cluster), random=self.random)
        machines = {name: machine.copy() for name, machine in before.machines.items()}
        self.fleet = Fleet(plan=cluster.plan, machines=machines, random=self.random, evidence=before.evidence.copy())
        self.fleet.roster, self.fleet.registered = dict(before.roster), set(before.registered)
        for machine in machines.values():
            machine.gives_up = seed % 2 == 1
        self.fleet.complete, self.fleet.clusters = installed, int(installed)
        self.fleet.storage = cluster.plan.release.etcd.rpartition(".")[0] if installed else ""
        self.broken: list[str] = []
        self.move: Move | None = None
        self._runs = 0
        self.applies: list[Apply] = []
        cluster.write(inventory)
        if issued:
            give_store(cluster, inventory)

    def rebuild(self, name: str) -> None:
        """Replace the host by an empty machine."""
        self.fleet.machines[name] = _fresh(self.cluster)[name]

    def change(self, cluster: Cluster, move: Move | None = None) -> None:
        """Replace the spec. The runs from now on are `apply`, or the verb of `move`."""
        self.cluster, self.move = cluster, move
        self.fleet.most = move.max_unavailable if move else None
        self.fleet.plan = cluster.plan
        cluster.write(self.inventory)

    def begin(self, weather: Weather, without: frozenset[str] = frozenset()) -> Apply:
        self._runs += 1
        apply = Apply(self.fleet, self.cluster, self.inventory, weather, self._runs, without, self.move)
        self.applies.append(apply)
        return apply

    def settle(self, *applies: Apply) -> None:
        """Wait for all runs; then check them."""
        before = invariants.authorities(self.inventory)
        self.fleet.clock.run_until(lambda: sum(not apply.over() for apply in applies) == 0)
        for apply in applies:
            number = apply.session.number
            for judge in (invariants.order, invariants.stop, invariants.journal, invariants.ending):
                self._note(number, *judge(apply))
            apply.close()
        self._note(applies[-1].session.number, *invariants.kept(before, self.inventory))

    def _note(self, number: int, *sentences: str) -> None:
        self.broken += [f"run {number}: {sentence}" for sentence in sentences]

    def apply(self, weather: Weather | None = None, without: frozenset[str] = frozenset()) -> Apply:
        apply = self.begin(weather or calm(self.random), without)
        self.settle(apply)
        return apply

    def disturbed(self, most: int = 3) -> None:
        """Some runs with faults, each continuing from the state of the one before."""
        for _ in range(self.random.randint(0, most)):
            self.apply(rough(self.random))

    def together(self) -> tuple[Apply, Apply]:
        """Two runs of the same inventory, the second a little later."""
        first = self.begin(calm(self.random))
        wait = self.fleet.clock.now + self.random.choice((0.0, 0.3, 2.0, 20.0))
        self.fleet.clock.run_until(lambda: self.fleet.clock.now >= wait or first.over())
        second = self.begin(calm(self.random))
        self.settle(first, second)
        self._note(second.session.number, *invariants.alone(first, second))
        return first, second

    def finish(self) -> None:
        """One undisturbed run does the remaining work; the next finds nothing to do."""
        last = self.apply()
        self._note(last.session.number, *invariants.converged(last))
        if last.succeeded:
            self.idle()

    def idle(self) -> None:
        again = self.apply()
        number, hosts = again.session.number, again.run.hosts.values()
        if self.fleet.log.of("act", "push", run=number) or again.run.session.journal is not None or again.run.failure:
            self._note(number, f"there was nothing to do, and it did something ({again.run.failure}; {again.run.changed})")
        if any(host.commands != 1 for host in hosts):
            self._note(number, "there was nothing to do, and it asked more than once")

    def expect(self, held: bool, sentence: str) -> None:
        if not held:
            self.broken.append(sentence)

    def judged(self, tell: Callable[[str], None] = lambda _line: None) -> None:
        """AssertionError with the seed when an invariant was violated."""
        for event in self.fleet.log.events:
            tell(str(event))
        found = [*self.fleet.log.broken, *self.broken]
        assert not found, f"seed {self.seed} ({self.cluster}):\n  " + "\n  ".join(found) + "\nreplay: --seed " + str(self.seed)
