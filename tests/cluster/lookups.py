"""Look-ups at the DNS Service, 20 a second, from a host of the cluster, as patient as a resolver library."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import dns.exception
import dns.message
import dns.query
import dns.rcode
import dns.rdatatype

from kubewright.lab import Lab
from tests.cluster.reach import on
from tests.cluster.waiting import until

TRIES, TRY_SECONDS = 10, 1.5
"""CoreDNS waits a second for etcd before it gives its last answer: a try is longer."""
THREADS, PERIOD = 4, 0.2


def ask(server: str, name: str, kind: str = "A") -> tuple[str, list[str]]:
    """One try from the calling thread's network: the rcode and the answer's values; a timeout is an rcode too."""
    query = dns.message.make_query(name, kind)
    try:
        answer = dns.query.udp(query, server, timeout=TRY_SECONDS)
    except (dns.exception.Timeout, OSError) as error:
        return type(error).__name__, []
    wanted = dns.rdatatype.from_text(kind)
    return dns.rcode.to_text(answer.rcode()), sorted(
        item.to_text() for rrset in answer.answer if rrset.rdtype == wanted for item in rrset
    )


@dataclass
class Lookups:
    """`failures`: look-ups with a wrong answer, or with none after all tries."""

    lab: Lab
    host: str
    server: str
    name: str
    expected: list[str]
    asked: int = 0
    again: int = 0
    """Tries without an answer."""
    failures: list[str] = field(default_factory=list)

    @contextmanager
    def running(self) -> Iterator[None]:
        """They run during the block, and at least one was answered before and after it."""
        ended = threading.Event()
        threads = [threading.Thread(target=self._ask, args=(ended,)) for _ in range(THREADS)]
        for thread in threads:
            thread.start()
        try:
            until("a look-up is answered", lambda: self.asked > THREADS, 30)
            yield
            until("a look-up is answered at the end", lambda since=self.asked: self.asked > since + THREADS, 30)  # type: ignore[misc]
        finally:
            ended.set()
            for thread in threads:
                thread.join()
            print(f"{self.asked} look-ups, {self.again} tries without an answer, {len(self.failures)} failed")
        assert not self.failures, self.failures[:10]

    def _ask(self, ended: threading.Event) -> None:
        try:
            with on(self.lab, self.host):
                while not ended.wait(PERIOD):
                    self._one()
        except Exception as error:  # otherwise a broken client would look like one without failures
            self.failures.append(repr(error))

    def _one(self) -> None:
        began, seen = time.monotonic(), []
        for _ in range(TRIES):
            rcode, values = ask(self.server, self.name)
            seen.append(rcode)
            if rcode == "NOERROR" and values == self.expected:
                break
            # A resolver asks again after SERVFAIL and silence, not after another answer.
            if rcode in ("NOERROR", "NXDOMAIN"):
                self.failures.append(f"{time.strftime('%H:%M:%S', time.gmtime())} {self.name}: {rcode} {values}")
                break
            self.again += 1
        else:
            self.failures.append(f"{self.name}: {', '.join(seen)} in {time.monotonic() - began:.1f} s")
        self.asked += 1
