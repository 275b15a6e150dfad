"""A rolling change of etcd, the apiservers and the kubelets under writers that never try again: no request is lost."""

from __future__ import annotations

import http.client
import json
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from tests.cluster.conftest import Cluster
from tests.cluster.manifests import NAMESPACE
from tests.cluster.reach import TIMEOUT, Api, on
from tests.cluster.waiting import until
from tests.cluster.workloads import Workloads

pytestmark = pytest.mark.cluster

PATH = f"/api/v1/namespaces/{NAMESPACE}/configmaps"
EVERY = 0.2
"""Seconds between one writer's writes; four of them make twenty a second."""
FLAGS = "extra_args: {etcd: {max-wals: '6'}, kube-apiserver: {event-ttl: 90m}, kubelet: {v: '1'}}\n"


class Writer:
    """Writes through one worker's load balancer, each write once. `kept` holds one connection as long as its server does."""

    def __init__(self, api: Api, title: str, *, kept: bool) -> None:
        self.api, self.title, self.kept = api, title, kept
        self.acknowledged: list[str] = []
        self.failures: list[str] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._write)

    def _connection(self) -> http.client.HTTPConnection:
        context = ssl.create_default_context(cadata=self.api.authority.decode())
        self.api.identity.load_into(context)
        connection = http.client.HTTPSConnection("127.0.0.1", 6443, timeout=TIMEOUT, context=context)
        connection.connect()
        return connection

    def _write(self) -> None:
        connection: http.client.HTTPConnection | None = None
        with on(self.api.lab, self.api.host):
            while not self._ended.wait(EVERY):
                name = f"{self.title}-{len(self.acknowledged) + len(self.failures)}"
                body = json.dumps({"metadata": {"name": name, "labels": {"rolling": self.title}}})
                try:
                    connection = connection or self._connection()
                    connection.request("POST", PATH, body, {"Content-Type": "application/json"})
                    response = connection.getresponse()
                    answer = response.read()
                    closes = response.will_close
                    if response.status == 201:
                        self.acknowledged.append(name)
                    else:
                        self.failures.append(f"{time.strftime('%T')} {self.title}: {response.status} {answer[:200]!r}")
                except (OSError, http.client.HTTPException) as error:
                    self.failures.append(f"{time.strftime('%T')} {self.title}: {type(error).__name__}: {error}")
                    closes = True
                if connection is not None and (closes or not self.kept):
                    connection.close()
                    connection = None

    @contextmanager
    def writing(self) -> Iterator[None]:
        self._thread.start()
        try:
            until(f"{self.title} is acknowledged", lambda: len(self.acknowledged) >= 5, 30)
            yield
        finally:
            self._ended.set()
            self._thread.join()


def test_a_rolling_change_loses_no_request(cluster: Cluster, workloads: Workloads) -> None:
    spec = cluster.inventory / "cluster.yaml"
    before = spec.read_text()
    writers = [
        Writer(workloads.api(worker), f"{worker}-{'kept' if kept else 'fresh'}", kept=kept)
        for worker in ("w1", "w2")
        for kept in (True, False)
    ]
    try:
        spec.write_text(f"{before}\n{FLAGS}")
        with ExitStack() as load:
            for writer in writers:
                load.enter_context(writer.writing())
            said = cluster.kubewright("apply").stdout
    finally:
        spec.write_text(before)
    assert all(f"{role} " in said for role in ("etcd", "apiserver", "kubelet")), said
    failures = [failure for writer in writers for failure in writer.failures]
    acknowledged = {name for writer in writers for name in writer.acknowledged}
    print(f"{len(acknowledged)} writes acknowledged, {len(failures)} failed")
    found = {i["metadata"]["name"] for i in workloads.api("w1").get(f"{PATH}?labelSelector=rolling")["items"]}
    workloads.api(timeout=60).ask(f"{PATH}?labelSelector=rolling", "DELETE")
    assert acknowledged <= found, "nothing acknowledged is lost"
    assert failures == []
