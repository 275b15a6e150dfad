"""Certificates, authorities and keys are replaced under load: no request fails, and old credentials stop working at the
drop."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread

import pytest

from pki import rotation
from pki.stages import Stage
from pki.store import INDEX, Store
from tests.cluster.conftest import Done, kubewright
from tests.cluster.killing_rotations import IN_EACH_STAGE, kill_rotation
from tests.cluster.load import PERIOD, Load, Tally
from tests.cluster.reach import ask, on
from tests.cluster.waiting import until
from tests.cluster.workloads import Workloads

pytestmark = pytest.mark.cluster

MOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
MINUTES = 20 * 60


class Rereader:
    """A pod that reads its ca.crt and its token again for each request to the API; its own host triggers the requests."""

    def __init__(self, workloads: Workloads) -> None:
        self._workloads, self._pod = workloads, workloads.pod("one")
        self._service = workloads.plan.api_service_address
        self._ended = Event()
        self.tally = Tally("pod that rereads its credentials")

    def _ask(self) -> str:
        authority, token = (self._workloads.shell(self._pod, f"cat {MOUNT}/{name}") for name in ("ca.crt", "token"))
        with on(self._workloads.lab, self._pod.host):
            headers = {"Authorization": f"Bearer {token}"}
            answer = ask(self._service, 443, "/api", authority=authority.encode(), headers=headers)
        return "" if answer.status == 200 else str(answer)

    def _run(self) -> None:
        while not self._ended.wait(5 * PERIOD):
            self.tally.sent += 1
            self.tally.note(0, self._ask())

    @contextmanager
    def running(self) -> Iterator[None]:
        thread = Thread(target=self._run)
        thread.start()
        try:
            yield
        finally:
            self._ended.set()
            thread.join()


def _certs(workloads: Workloads, *arguments: str, check: bool = True) -> Done:
    verb, *rest = arguments
    return kubewright("certs", verb, "-i", str(workloads.cluster.inventory), *rest, check=check, timeout=MINUTES)


def _under_load(workloads: Workloads, title: str, *arguments: str) -> Done:
    """`certs ARGUMENTS` under load: no request fails."""
    with _unnoticed(workloads, title):
        done = _certs(workloads, *arguments)
        print(done.stdout[-1500:])
    return done


@contextmanager
def _unnoticed(workloads: Workloads, title: str) -> Iterator[None]:
    """Users write and read during the block, and no request fails."""
    load, pod = Load(workloads, title), Rereader(workloads)
    with load.running(), pod.running():
        yield
        sent = load.sent
        until("some more requests were sent", lambda: load.sent > sent + 100, 60)
    print(load, f"{pod.tally.title}: {pod.tally.sent} sent, {len(pod.tally.failures)} failed", *pod.tally.failures, sep="\n")
    lost = load.lost()
    load.clean()
    assert not load.failures and not pod.tally.failures
    assert not lost
    assert not load.together_down()


def _keys(workloads: Workloads) -> dict[str, str]:
    index = json.loads((workloads.cluster.inventory / INDEX).read_text())
    return {name: row["key_sha256"] for name, row in index.items()}


def _settled(workloads: Workloads, row: str) -> None:
    store = Store(workloads.cluster.inventory)
    assert rotation.stage(store.entries, row) is Stage.SETTLED
    assert "nothing to change" in workloads.cluster.kubewright("apply").stdout
    workloads.cluster.verified()


@pytest.mark.soak
def test_all_leaves_are_renewed_and_no_request_fails(workloads: Workloads) -> None:
    before = _keys(workloads)
    _under_load(workloads, "renew", "renew", "--all")
    after = _keys(workloads)
    kept = {name for name in before if before[name] == after[name]}
    assert all(name.startswith(("ca/", "service-account", "encryption")) for name in kept), kept
    assert "nothing to change" in workloads.cluster.kubewright("apply").stdout


@pytest.mark.soak
def test_etcds_authority_is_replaced_and_no_request_fails(workloads: Workloads) -> None:
    before = _keys(workloads)["ca/etcd"]
    _under_load(workloads, "rotate-etcd", "rotate-ca", "etcd")
    assert _keys(workloads)["ca/etcd"] != before
    _settled(workloads, "ca/etcd")


@pytest.mark.soak
def test_the_front_proxys_authority_is_replaced_by_runs_killed_in_every_stage_and_no_request_fails(workloads: Workloads) -> None:
    before = _keys(workloads)["ca/front-proxy"]
    with _unnoticed(workloads, "rotate-front-proxy"):
        killed = kill_rotation(workloads.cluster, "rotate-ca", "front-proxy", at=IN_EACH_STAGE)
    print(f"killed {len(killed)} times: {'; '.join(killed)}")
    assert _keys(workloads)["ca/front-proxy"] != before
    _settled(workloads, "ca/front-proxy")


@pytest.mark.soak
def test_the_key_of_service_accounts_is_replaced_and_pods_keep_their_access(workloads: Workloads) -> None:
    before = _keys(workloads)["service-account"]
    _under_load(workloads, "rotate-sa", "rotate-service-account")
    assert _keys(workloads)["service-account"] != before
    _settled(workloads, "service-account")


@pytest.mark.soak
def test_clients_of_the_old_kubernetes_authority_work_until_its_drop_and_not_after(workloads: Workloads, tmp_path: Path) -> None:
    """It stops and asks before the drop; with a confirmation it finishes."""
    old = tmp_path / "old.kubeconfig"
    shutil.copy(workloads.cluster.inventory / "admin.kubeconfig", old)
    stopped = _certs(workloads, "rotate-ca", "kubernetes", check=False)
    assert stopped.returncode == 1, stopped.stdout
    assert "kw-test/one" in stopped.stderr + stopped.stdout
    assert rotation.stage(Store(workloads.cluster.inventory).entries, "ca/kubernetes") is Stage.SWITCHED
    assert _as(workloads, old).returncode == 0
    _under_load(workloads, "rotate-kubernetes", "rotate-ca", "kubernetes", "--restart-workloads", "--drop")
    refused = _as(workloads, old)
    assert refused.returncode != 0
    assert _as(workloads, workloads.cluster.inventory / "admin.kubeconfig").returncode == 0
    _settled(workloads, "ca/kubernetes")


def _as(workloads: Workloads, kubeconfig: Path) -> Done:
    """kubectl with that kubeconfig, on the first master."""
    there = "umask 077; cat > /root/someone.kubeconfig; kubectl --kubeconfig=/root/someone.kubeconfig get nodes"
    return workloads.cluster.ssh("m1", there, stdin=kubeconfig.read_text(), check=False)
