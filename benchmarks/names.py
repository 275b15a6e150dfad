"""kube2sky: 2,000 Services made and deleted, on loopback. Tests' own components, so no lab and no root is needed."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks.figures import Figure

GROUP = "DNS: kube2sky"
COUNT = 2000
_PATH = "/api/v1/namespaces/default/services"
_PREFIX = "/skydns/local/cluster/svc/default/s"


def measure(say: Callable[[str], None]) -> Iterator[Figure]:
    """The seconds from the API's last answer until etcd has every name, or none; and kube2sky's memory with all of them."""
    from tests.cluster.waiting import until
    from tests.support.components import components, service

    with tempfile.TemporaryDirectory() as place, components(Path(place)) as made:
        made.start_kube2sky()
        until("etcd has every name", made.is_ready, 30)
        empty = made.metric("resident_memory_bytes")
        say(f"making {COUNT} Services")
        began = time.monotonic()
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda n: made.create(_PATH, service(f"s{n}")), range(COUNT)))
        took = time.monotonic() - began

        def keys() -> int:
            done = made.etcdctl("get", "--prefix", _PREFIX, "--count-only", "--write-out=fields").stdout
            return next(int(line.split(":")[1]) for line in done.splitlines() if line.startswith('"Count"'))

        began = time.monotonic()
        until("every name is there", lambda: keys() == 2 * COUNT, 60, pause=0.01)
        note = f"of {COUNT:,} made in {took:.0f} s"
        yield Figure(group=GROUP, name="every name is there after the last Service; aim: under 1 s",
                     samples=(time.monotonic() - began,), note=note)  # fmt: skip
        memory = made.metric("resident_memory_bytes") / 2**20
        yield Figure(group=GROUP, name="memory; aim: under 80 MiB", samples=(memory,), unit="MiB",
                     note=f"{empty / 2**20:.0f} MiB with one Service")  # fmt: skip
        say(f"deleting {COUNT} Services")
        began = time.monotonic()
        answer = made.api.delete(_PATH, params={"fieldSelector": "metadata.name!=kubernetes"})
        answer.raise_for_status()
        took = time.monotonic() - began
        began = time.monotonic()
        until("no name is left", lambda: keys() == 0, 60, pause=0.01)
        yield Figure(group=GROUP, name="no name is left after their deletion; aim: under 1 s",
                     samples=(time.monotonic() - began,), note=f"one request of {took:.1f} s")  # fmt: skip
