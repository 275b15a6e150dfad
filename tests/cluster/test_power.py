"""Hosts that lose power, one or all of them, and the effect for users."""

from __future__ import annotations

import datetime as dt
import itertools
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

import pytest

from kubewright.model.cluster import Node
from tests.cluster.manifests import NAMESPACE
from tests.cluster.reach import Api, ask, on
from tests.cluster.waiting import until
from tests.cluster.workloads import CORE, Workloads, condition

pytestmark = pytest.mark.cluster

OUTAGE_SECONDS = 60
"""The time limit after a master's power cut until everything works again for users."""
REJOIN_SECONDS = 120
COLD_START_SECONDS = 240
BETWEEN_WRITES = 0.05
PATIENCE = 3.0
"""The time that a writer waits for one answer before it tries again."""


class Writer:
    """Writes ConfigMaps through the workers' load balancers in turn, and records the acknowledged ones."""

    def __init__(self, workloads: Workloads, title: str) -> None:
        self._apis = [workloads.api(n.name, PATIENCE) for n in workloads.plan.nodes if not n.is_master]
        self._title = title
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._write)
        self.acknowledged: list[tuple[float, str]] = []

    def _write(self) -> None:
        for number, api in enumerate(itertools.cycle(self._apis)):
            if self._ended.wait(BETWEEN_WRITES):
                return
            name = f"{self._title}-{number}"
            body = {"metadata": {"name": name, "labels": {"written": self._title}}, "data": {"number": str(number)}}
            # A worker that is off has no network namespace to ask from.
            with suppress(OSError):
                if api.ask(f"{CORE}/configmaps", "POST", body).status == 201:
                    self.acknowledged.append((time.monotonic(), name))

    @property
    def names(self) -> set[str]:
        return {name for _, name in self.acknowledged}

    def longest_gap(self, since: float) -> float:
        """The longest time between two acknowledgements in seconds, from the last one before `since` on."""
        before = [at for at, _ in self.acknowledged if at <= since][-1:]
        times = before + [at for at, _ in self.acknowledged if at > since]
        return max((b - a for a, b in itertools.pairwise(times)), default=0.0)

    @contextmanager
    def writing(self) -> Iterator[None]:
        self._thread.start()
        try:
            until("the writer is acknowledged", lambda: len(self.acknowledged) >= 20, 30)
            yield
        finally:
            self._ended.set()
            self._thread.join()

    def lost(self, api: Api) -> set[str]:
        """Acknowledged writes that are missing."""
        items = api.get(f"{CORE}/configmaps?labelSelector=written%3D{self._title}")["items"]
        return self.names - {i["metadata"]["name"] for i in items}

    def clean(self, workloads: Workloads) -> None:
        # One request for all of them, which takes time.
        api = workloads.api(timeout=60)
        assert api.ask(f"{CORE}/configmaps?labelSelector=written%3D{self._title}", "DELETE").status == 200


def _starts_a_pod(workloads: Workloads, api: Api, name: str, deadline: float) -> None:
    """A new pod is accepted, scheduled and ready before `deadline`, on time.monotonic's clock."""
    container = {
        "name": "server",
        "image": workloads.image,
        "imagePullPolicy": "IfNotPresent",
        "args": ["pause"],
    }
    pod: dict[str, Any] = {
        "metadata": {"name": name},
        "spec": {"containers": [container], "terminationGracePeriodSeconds": 0},
    }

    def created() -> bool:
        # 409: an earlier attempt had succeeded, and its answer was lost.
        answer = api.ask(f"{CORE}/pods", "POST", pod)
        assert answer.status in (201, 409), str(answer)
        return True

    def ready() -> bool:
        answer = api.ask(f"{CORE}/pods/{name}")
        assert answer.status == 200, str(answer)
        assert condition(answer.json, "Ready") == "True", f"{answer.json['status']}"
        return True

    until(f"pod {name} is accepted", created, deadline - time.monotonic())
    until(f"pod {name} is ready", ready, deadline - time.monotonic())
    api.ask(f"{CORE}/pods/{name}", "DELETE")


def _healthy(workloads: Workloads, member: Node) -> bool:
    with on(workloads.lab):
        answer = ask(
            member.address,
            2379,
            "/health",
            authority=workloads.issuer.authority("ca/etcd"),
            identity=workloads.issuer.stored(f"etcd-healthcheck-client/{member.name}"),
            timeout=PATIENCE,
        )
    assert answer.status == 200 and answer.json["health"] == "true", f"etcd of {member.name}: {answer}"
    return True


def _serves(workloads: Workloads, master: Node) -> bool:
    with on(workloads.lab):
        answer = ask(master.address, 6443, "/readyz", authority=workloads.issuer.authority("ca/kubernetes"), timeout=PATIENCE)
    assert answer.status == 200, f"apiserver of {master.name}: {answer}"
    return True


def _reports(workloads: Workloads, node: Node, since: dt.datetime) -> bool:
    """Whether `node` is Ready according to its kubelet after `since`: an old Ready stays for a while after a power cut."""
    api = workloads.api(workloads.plan.masters[0].name, PATIENCE)
    lease = api.ask(f"/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/{node.name}")
    found = api.ask(f"/api/v1/nodes/{node.name}")
    assert lease.status == 200 and found.status == 200, f"{node.name}: {lease}; {found}"
    renewed = dt.datetime.fromisoformat(lease.json["spec"]["renewTime"])
    assert renewed > since, f"{node.name}: last heard of at {renewed}, powered on at {since}"
    assert condition(found.json, "Ready") == "True", f"{node.name} is not Ready"
    return True


def _all_are_back(workloads: Workloads, nodes: tuple[Node, ...], since: dt.datetime, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    for node in nodes:
        if node.is_etcd:
            until("etcd is healthy", partial(_healthy, workloads, node), deadline - time.monotonic())
        if node.is_master:
            until("the apiserver is ready", partial(_serves, workloads, node), deadline - time.monotonic())
    for node in nodes:
        until("the node is Ready", partial(_reports, workloads, node, since), deadline - time.monotonic())


OTHERS = [pytest.param(name, marks=pytest.mark.soak) for name in ("m2", "m3")]


@pytest.mark.parametrize("master", ["m1", *OTHERS])
def test_the_cluster_keeps_serving_when_a_master_loses_power_and_the_master_comes_back(workloads: Workloads, master: str) -> None:
    node, cluster = workloads.plan.node(master), workloads.cluster
    workers = [n for n in workloads.plan.nodes if not n.is_master]
    for other in workloads.plan.masters:
        assert _healthy(workloads, other) and _serves(workloads, other)
    writer = Writer(workloads, f"{master}-off")
    try:
        with writer.writing():
            cut = time.monotonic()
            cluster.stop(master)
            for worker in workers:
                api = workloads.api(worker.name, PATIENCE)
                _starts_a_pod(workloads, api, f"after-{master}-through-{worker.name}", cut + OUTAGE_SECONDS)
            served = time.monotonic()
            acknowledged = len(writer.acknowledged)
            until("more is acknowledged", lambda: len(writer.acknowledged) >= acknowledged + 20, OUTAGE_SECONDS)
            # The operator's commands work without that master too.
            assert f"{master} " in cluster.kubectl("get", "nodes").stdout
        assert not writer.lost(workloads.api(workers[0].name))
    finally:
        began, since = time.monotonic(), dt.datetime.now(dt.UTC)
        cluster.start(master)
    _all_are_back(workloads, (node,), since, REJOIN_SECONDS)
    print(
        f"{master}: pods through every load balancer {served - cut:.1f} s after the cut; writes paused for "
        f"{writer.longest_gap(cut):.1f} s; back {time.monotonic() - began:.1f} s after power-on; "
        f"{len(writer.acknowledged)} acknowledged writes, none lost"
    )
    assert not writer.lost(workloads.api(master))
    writer.clean(workloads)


def test_the_cluster_recovers_by_itself_after_a_power_cut_of_all_hosts(workloads: Workloads) -> None:
    plan, cluster = workloads.plan, workloads.cluster
    names = [n.name for n in plan.nodes]
    writer = Writer(workloads, "all-off")
    before = {p.name for p in workloads.pods()}
    with writer.writing():
        cut = dt.datetime.now(dt.UTC)
        # Written until the power cut: writes acknowledged in the last moment count.
        for name in names:
            cluster.stop(name)
    began, since = time.monotonic(), dt.datetime.now(dt.UTC)
    cluster.start(*names)
    _all_are_back(workloads, plan.nodes, since, COLD_START_SECONDS)
    until("the workloads run again", lambda: _ran_again(workloads, cut) >= before, COLD_START_SECONDS)
    until("names resolve on every host", lambda: _names_resolve(workloads), COLD_START_SECONDS)
    print(f"all: back {time.monotonic() - began:.1f} s after power-on; {len(writer.acknowledged)} acknowledged writes")
    assert not writer.lost(workloads.api())
    writer.clean(workloads)
    cluster.verified()
    assert "nothing to change on 5 hosts" in cluster.kubewright("apply").stdout


def _ran_again(workloads: Workloads, cut: dt.datetime) -> set[str]:
    """Names of ready test pods whose containers were started after `cut`."""
    names = set()
    for item in workloads.api().get(f"{CORE}/pods")["items"]:
        running = [c.get("state", {}).get("running") for c in item["status"].get("containerStatuses", ())]
        fresh = running and all(r and dt.datetime.fromisoformat(r["startedAt"]) > cut for r in running)
        if fresh and condition(item, "Ready") == "True":
            names.add(item["metadata"]["name"])
    return names


def _names_resolve(workloads: Workloads) -> bool:
    pods = workloads.everywhere()
    assert len(pods) == len(workloads.plan.kubelets)
    for source in pods:
        assert workloads.dialled(source, f"only-two.{NAMESPACE}", 80) == ["two"]
    return True
