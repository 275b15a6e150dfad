"""Users' load while a cluster changes: writers and a prober that never retry, and records of servers that are down."""

from __future__ import annotations

import itertools
import json
import re
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from kubewright.model.cluster import ETCD_CLIENT_PORT
from kubewright.tls import stream as tls_stream
from pki.authorities import ETCD, KUBERNETES
from tests.cluster import http2
from tests.cluster.reach import ask, on
from tests.cluster.waiting import until
from tests.cluster.workloads import CORE, Workloads

PERIOD = 0.2
"""Seconds between two requests of one writer: four of them make 20 writes a second."""
CROWD_PERIOD = 0.03
TIMEOUT = 10.0
API_PORT = 6443


@dataclass
class Tally:
    """One client's requests and their results."""

    title: str
    sent: int = 0
    failures: list[str] = field(default_factory=list)
    acknowledged: set[str] = field(default_factory=set)

    def note(self, began: float, problem: str) -> None:
        if problem:
            stamp = time.strftime("%H:%M:%S", time.gmtime())
            self.failures.append(f"{stamp} {self.title}, after {time.monotonic() - began:.2f} s: {problem}")


@dataclass
class Sampled:
    """The times when a server did not answer: (from, to) of each failed sample."""

    title: str
    samples: int = 0
    down: list[tuple[float, float]] = field(default_factory=list)


class Load:
    """Two kinds of writers on each worker's load balancer, a prober of a two-replica Service, samplers of every master.

    `crowd`: the number of further clients on each worker; each keeps a connection and uses it 33 times a second, without
    storing anything (dryRun).
    """

    def __init__(self, workloads: Workloads, title: str, crowd: int = 0) -> None:
        self._workloads, self._title, self._crowd = workloads, title, crowd
        self._ended = threading.Event()
        self.writers: list[Tally] = []
        self.crowd: list[Tally] = []
        self.probes = Tally("prober of a two-replica Service")
        self.apiservers: list[Sampled] = []
        self.members: list[Sampled] = []
        self._broken: list[str] = []

    # -- results

    @property
    def failures(self) -> list[str]:
        return [f for tally in (*self.writers, *self.crowd, self.probes) for f in tally.failures]

    @property
    def sent(self) -> int:
        return sum(tally.sent for tally in (*self.writers, *self.crowd, self.probes))

    def lost(self) -> set[str]:
        """Acknowledged writes that are missing."""
        api = self._workloads.api(timeout=60)
        items = api.get(f"{CORE}/configmaps?labelSelector=written%3D{self._title}")["items"]
        there = {i["metadata"]["name"] for i in items}
        return {name for tally in self.writers for name in tally.acknowledged} - there

    def together_down(self) -> list[str]:
        """Pairs of apiservers, or of etcd members, that did not answer at the same time."""
        return [
            f"{one.title} and {other.title}"
            for kind in (self.apiservers, self.members)
            for one, other in itertools.combinations(kind, 2)
            if any(a < d and c < b for a, b in one.down for c, d in other.down)
        ]

    def __str__(self) -> str:
        parts = [f"{t.title}: {t.sent} sent, {len(t.failures)} failed" for t in (*self.writers, *self.crowd, self.probes)]
        parts += [f"{s.title}: {len(s.down)} of {s.samples} samples down" for s in (*self.apiservers, *self.members)]
        return "\n".join([f"{self._title}: {self.sent} requests, {len(self.failures)} failed", *parts, *self.failures])

    # -- running

    @contextmanager
    def running(self) -> Iterator[None]:
        """The load runs during the block; at its end it is stopped, and written objects are removed."""
        threads = [threading.Thread(target=target) for target in self._clients()]
        for thread in threads:
            thread.start()
        try:
            until("the writers are acknowledged", lambda: all(len(t.acknowledged) > 3 for t in (*self.writers, *self.crowd)), 60)
            until("the prober is answered", lambda: self._broken or self.probes.sent > 3, 60)
            assert not self._broken, self._broken
            yield
            assert not self._broken, self._broken
        finally:
            self._ended.set()
            for thread in threads:
                thread.join()

    def clean(self) -> None:
        api = self._workloads.api(timeout=60)
        api.ask(f"{CORE}/configmaps?labelSelector=written%3D{self._title}", "DELETE")

    def _clients(self) -> Iterator[Callable[[], None]]:
        plan = self._workloads.plan
        for node in (n for n in plan.nodes if not n.is_master):
            for kind, keeps in (("a new connection each", False), ("one HTTP/2 connection", True)):
                tally = Tally(f"writer on {node.name}, {kind}")
                self.writers.append(tally)
                yield self._bind(self._write, node.name, tally, keeps)
            for number in range(self._crowd):
                tally = Tally(f"one of many on {node.name}, number {number}")
                self.crowd.append(tally)
                yield self._bind(self._write, node.name, tally, True, "?dryRun=All", CROWD_PERIOD)
        yield self._bind(self._probe, next(n.name for n in plan.nodes if not n.is_master))
        for node in plan.masters:
            apiserver, member = Sampled(f"apiserver {node.name}"), Sampled(f"etcd {node.name}")
            self.apiservers.append(apiserver)
            self.members.append(member)
            yield self._bind(self._sample, None, apiserver, node.address, API_PORT, "/readyz", "")
            # From its own host, to see whether it is down, not whether traffic is dropped for a transfer of leadership
            # (decision 0006).
            yield self._bind(self._sample, node.name, member, "127.0.0.1", ETCD_CLIENT_PORT, "/health", node.name)

    def _bind(self, target: Callable[..., None], where: str | None, *arguments: Any) -> Callable[[], None]:
        def there() -> None:
            try:
                with on(self._workloads.lab, where):
                    target(*arguments)
            except Exception as error:  # otherwise a broken client would look like one without failures
                self._broken.append(f"{target.__name__}{arguments}: {error!r}")

        return there

    def _context(self) -> ssl.SSLContext:
        issuer = self._workloads.issuer
        context = ssl.create_default_context(cadata=issuer.authority(KUBERNETES.name).decode())
        tls_stream.load(context, issuer.operator)
        return context

    def _turns(self, period: float = PERIOD) -> Iterator[int]:
        began = time.monotonic()
        for number in itertools.count():
            if self._ended.wait(max(0.0, began + number * period - time.monotonic())):
                return
            yield number

    def _write(self, tally: Tally, keeps: bool, query: str = "", period: float = PERIOD) -> None:
        client = http2.Client("127.0.0.1", API_PORT, self._context, TIMEOUT)
        prefix = re.sub(r"[^a-z0-9]+", "-", f"{self._title} {tally.title}".lower())
        for number in self._turns(period):
            body = {"metadata": {"name": f"{prefix}-{number}", "labels": {"written": self._title}}}
            began, problem = time.monotonic(), ""
            tally.sent += 1
            try:
                status, answer = client.ask("POST", f"{CORE}/configmaps{query}", json.dumps(body).encode())
                problem = "" if status == 201 else f"{status} {answer[:300].decode(errors='replace')}"
            except (http2.Broken, OSError) as error:
                problem = f"{type(error).__name__}: {error}"
            if not problem:
                tally.acknowledged.add(f"{prefix}-{number}")
            tally.note(began, problem)
            if not keeps:
                client.close()
        client.close()

    def _probe(self) -> None:
        address = self._workloads.cluster_ip("both")
        until("the Service has endpoints", partial(self._hostname, address), 50)
        for _ in self._turns():
            began = time.monotonic()
            self.probes.sent += 1
            answer = ask(address, 80, "/hostname", timeout=TIMEOUT)
            self.probes.note(began, "" if answer.status == 200 else str(answer))

    @staticmethod
    def _hostname(address: object) -> bool:
        answer = ask(address, 80, "/hostname")
        assert answer.status == 200, str(answer)
        return True

    def _sample(self, sampled: Sampled, address: object, port: int, path: str, member: str) -> None:
        for _ in self._turns():
            issuer = self._workloads.issuer
            identity = issuer.stored(f"etcd-healthcheck-client/{member}") if member else issuer.operator
            trusted = issuer.authority(ETCD.name if member else KUBERNETES.name)
            began = time.monotonic()
            answer = ask(address, port, path, authority=trusted, identity=identity, timeout=2)
            sampled.samples += 1
            if answer.status != 200:
                sampled.down.append((began, time.monotonic()))
