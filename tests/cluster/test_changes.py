"""Safe changes: correct previews, killed runs, a failure that stops the roll. Three masters of one lab.

The tests depend on each other, in this order. About five minutes; those marked soak take another ten.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
from pathlib import Path

import pytest

from pki.store import INDEX, PRIVATE
from tests.cluster.conftest import KUBEWRIGHT, Cluster, Done, kubewright
from tests.cluster.killing import converged, edit, kill_rolling, reset

pytestmark = pytest.mark.cluster

AUTHORITIES = ("ca/kubernetes", "ca/etcd", "ca/front-proxy", "service-account")


@pytest.fixture(scope="module")
def kill_seed(request: pytest.FixtureRequest) -> int:
    """Random each time; `--kill-seed N` repeats the moments of an earlier run."""
    given: int | None = request.config.getoption("--kill-seed")
    seed = random.randrange(10**6) if given is None else given  # noqa: S311 (no secret)
    print(f"kill seed {seed}")
    return seed


@pytest.fixture(scope="module")
def changing(three_masters: Cluster) -> Cluster:
    return three_masters


def _authorities(cluster: Cluster) -> dict[str, str]:
    index = json.loads((cluster.inventory / "certificates.json").read_text())
    return {name: index[name]["key_sha256"] for name in AUTHORITIES}


def _apply_killed_at(cluster: Cluster, seen: set[str]) -> tuple[str, bool]:
    """Apply until something changes in a (step, host) that is not in `seen`, then SIGKILL. Returns that pair, and whether
    the run ended first."""
    command = [KUBEWRIGHT, "apply", "-i", str(cluster.inventory)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            words = line.split()
            what = " ".join(words[:2])
            if "changes," in words and what not in seen:
                os.kill(process.pid, signal.SIGKILL)
                return what, False
        assert process.wait() == 0, what
        return "", True


def _killed_until_done(cluster: Cluster) -> list[str]:
    """Apply, killed after each change in turn, until one run finishes."""
    seen: list[str] = []
    while len(seen) < 200:
        what, ended = _apply_killed_at(cluster, set(seen))
        if ended:
            return seen
        seen.append(what)
    raise AssertionError(f"it does not converge: {seen[-20:]}")


def _starts(cluster: Cluster, unit: str) -> dict[str, str]:
    show = f"systemctl show -p ActiveEnterTimestampMonotonic {unit}"
    return {host: cluster.ssh(host, show).stdout for host in ("m1", "m2", "m3")}


@pytest.mark.soak
def test_a_fresh_apply_killed_at_every_step_converges_and_keeps_its_authorities(changing: Cluster) -> None:
    reset(changing)
    for name in (INDEX, PRIVATE):
        (changing.inventory / name).unlink()
    first, _ = _apply_killed_at(changing, set())
    before = _authorities(changing)
    killed = [first, *_killed_until_done(changing)]
    print(f"fresh apply killed {len(killed)} times, at {', '.join(killed)}")
    assert len(killed) > 10
    assert _authorities(changing) == before
    converged(changing)


def test_a_plan_changes_nothing_and_names_restarts_with_reasons(changing: Cluster) -> None:
    starts = _starts(changing, "kube-apiserver")
    edit(changing, "{kube-apiserver: {event-ttl: 2h}}")
    shown = changing.kubewright("plan", check=False)
    assert shown.returncode == 2
    assert shown.stdout.count("+  --event-ttl=2h") == 3
    assert "restart kube-apiserver.service because of /etc/systemd/system/kube-apiserver.service" in shown.stdout
    found = json.loads(changing.kubewright("plan", "--json", check=False).stdout)
    assert {line["role"] for line in found["changes"]} == {"apiserver"}
    assert _starts(changing, "kube-apiserver") == starts
    assert "BEGIN" not in shown.stdout


def test_a_saved_plan_is_refused_when_the_spec_or_a_host_has_changed(changing: Cluster, tmp_path: Path) -> None:
    saved = tmp_path / "p.kw"
    changing.kubewright("plan", "-o", str(saved), check=False)
    edit(changing, "{kube-apiserver: {event-ttl: 3h}}")
    refused = _apply_saved(changing, saved)
    assert refused.returncode == 1
    assert "cluster.yaml" in refused.stdout
    edit(changing, "{kube-apiserver: {event-ttl: 2h}}")
    changing.ssh("m2", "echo '# by hand' >> /etc/crictl.yaml")
    refused = _apply_saved(changing, saved)
    assert refused.returncode == 1
    assert "m2: file /etc/crictl.yaml" in refused.stdout
    for host in ("m1", "m2", "m3"):
        assert "event-ttl" not in changing.ssh(host, "cat /etc/systemd/system/kube-apiserver.service").stdout


def _apply_saved(cluster: Cluster, saved: Path) -> Done:
    return kubewright("apply", "-i", str(cluster.inventory), str(saved), check=False)


@pytest.mark.soak
def test_a_rolling_change_killed_at_every_host_converges_one_apiserver_at_a_time(changing: Cluster) -> None:
    before = _authorities(changing)
    changing.kubectl("create", "configmap", "acknowledged", "--from-literal=k=v")
    flags = "{kube-apiserver: {event-ttl: 2h}, etcd: {max-snapshots: '6'}, kubelet: {v: '1'}}"
    edit(changing, flags)
    killed = _killed_until_done(changing)
    print(f"rolling apply killed {len(killed)} times, at {', '.join(killed)}")
    assert {what.split()[0] for what in killed} >= {"etcd", "apiserver", "kubelet"}
    assert _authorities(changing) == before
    assert changing.kubectl("get", "configmap", "acknowledged", "-o", "jsonpath={.data.k}").stdout == "v"
    converged(changing)


@pytest.mark.soak
def test_a_rolling_change_killed_at_a_random_moment_loses_no_acknowledged_write(changing: Cluster, kill_seed: int) -> None:
    """Ten more in `make soak`. It begins on hosts without pending changes."""
    changing.kubewright("apply")
    print(kill_rolling(changing, kill_seed, kills=1))


def test_of_two_simultaneous_applies_the_second_names_the_first(changing: Cluster) -> None:
    edit(changing, "{kube-apiserver: {event-ttl: 4h}}")
    command = [KUBEWRIGHT, "apply", "-i", str(changing.inventory)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout is not None
        first.stdout.readline()  # one host is done, the others are to come
        second = changing.kubewright("apply", check=False)
        assert second.returncode == 1
        assert "another run is at work: root at" in second.stdout
        assert "doing `apply`" in second.stdout
        first.stdout.read()
        assert first.wait() == 0
    converged(changing)


@pytest.mark.soak  # the runs that it lists are those of the tests above
def test_history_lists_killed_and_finished_runs(changing: Cluster) -> None:
    runs = json.loads(changing.kubewright("history", "--json").stdout)
    assert {run["outcome"] for run in runs} >= {"done", "killed"}
    assert runs[0]["outcome"] == "done"
    on_master = changing.ssh("m1", "cat /var/lib/kubewright/journal.jsonl").stdout.splitlines()
    assert json.loads(on_master[-1])["run"] == runs[0]["run"]


def test_drift_is_shown_and_repaired_with_only_the_needed_restarts(changing: Cluster) -> None:
    starts = _starts(changing, "kube-apiserver")
    changing.ssh("m1", "echo '# by hand' >> /etc/kubernetes/kube-proxy.yaml")
    changing.ssh("m2", "rm /usr/local/bin/crictl; chmod 0644 /etc/kubernetes/pki/sa.key")
    changing.ssh("m3", "systemctl disable -q --now flanneld")
    shown = changing.kubewright("plan", check=False).stdout
    for line in (
        "write /etc/kubernetes/kube-proxy.yaml",
        "link /usr/local/bin/crictl",
        "pki/sa.key (secret)",
        "start flanneld.service",
    ):
        assert line in shown
    assert "restart" not in shown.replace("restart kube-proxy.service", "")
    changing.kubewright("apply")
    assert changing.ssh("m2", "stat -c %a /etc/kubernetes/pki/sa.key").stdout.strip() == "600"
    assert _starts(changing, "kube-apiserver") == starts
    converged(changing)


def test_leftovers_of_an_older_plan_are_removed(changing: Cluster) -> None:
    changing.ssh(
        "m3",
        "printf '[Service]\\nExecStart=/bin/sleep infinity\\n' > /etc/systemd/system/old.service; systemctl start old; "
        "echo 'unit old.service' >> /var/lib/kubewright/installed; "
        "echo 'file /etc/systemd/system/old.service' >> /var/lib/kubewright/installed",
    )
    assert "remove unit old.service, file /etc/systemd/system/old.service" in changing.kubewright("plan", check=False).stdout
    changing.kubewright("apply")
    assert changing.ssh("m3", "systemctl is-active old", check=False).stdout.strip() == "inactive"
    converged(changing)


def test_a_node_that_the_spec_does_not_name_is_reported(changing: Cluster) -> None:
    manifest = json.dumps({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "stranger"}})
    changing.kubectl("apply", "-f", "-", stdin=manifest)
    try:
        assert "node stranger is in the cluster and not in cluster.yaml" in changing.kubewright("apply").stdout
    finally:
        changing.kubectl("delete", "node", "stranger")


@pytest.mark.soak
def test_a_broken_flag_stops_at_the_first_host_and_says_how_to_continue(changing: Cluster) -> None:
    starts = _starts(changing, "etcd")
    edit(changing, "{kube-apiserver: {event-ttl: 4h}, etcd: {heartbeat-interval: '999999'}}")
    failed = changing.kubewright("apply", check=False)
    assert failed.returncode == 1
    assert "etcd.service is not ready" in failed.stdout
    assert "then resume: kubewright apply" in failed.stdout
    serving = [host for host in starts if changing.ssh(host, "systemctl is-active etcd", check=False).stdout.strip() == "active"]
    assert len(serving) == 2
    now = _starts(changing, "etcd")
    assert [now[host] for host in serving] == [starts[host] for host in serving], "two are untouched"
    again = changing.kubewright("apply", check=False)
    assert again.returncode == 1
    edit(changing, "{kube-apiserver: {event-ttl: 4h}}")
    assert changing.kubewright("apply").returncode == 0
    converged(changing)


@pytest.mark.soak
def test_a_host_that_is_down_is_refused_or_left_out_by_name(changing: Cluster) -> None:
    changing.stop("m3")
    edit(changing, "{kube-apiserver: {event-ttl: 5h}, etcd: {max-wals: '6'}}")
    starts = _starts_of(changing, "etcd", ("m1", "m2"))
    refused = changing.kubewright("apply", check=False)
    assert refused.returncode == 1
    assert "m3: does not answer over SSH" in refused.stdout
    gated = changing.kubewright("apply", "--without", "m3", check=False)
    assert gated.returncode == 1
    assert "etcd would lose its quorum of 2: not healthy: m3" in gated.stdout
    assert _starts_of(changing, "etcd", ("m1", "m2")) == starts, "nothing was restarted"
    edit(changing, "{kube-apiserver: {event-ttl: 5h}}")
    done = changing.kubewright("apply", "--without", "m3", check=False)
    assert done.returncode == 4
    assert "m3 was left out: nothing was changed on it" in done.stdout
    changing.start("m3")
    changing.kubewright("apply")
    converged(changing)


def _starts_of(cluster: Cluster, unit: str, hosts: tuple[str, ...]) -> list[str]:
    return [cluster.ssh(host, f"systemctl show -p ActiveEnterTimestampMonotonic {unit}").stdout for host in hosts]
