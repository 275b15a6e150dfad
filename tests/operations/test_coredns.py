"""The shell that applies CoreDNS, run with a kubectl that keeps what is applied and schedules as Kubernetes does."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from kubewright.plan.context import Context
from kubewright.plan.desired import ClusterTask
from roles.coredns.apply import BEGUN
from roles.coredns.role import ROLE
from tests.operations.test_dns_question import dns_server
from tests.roles.test_coredns import skydns
from tests.support.scenarios import scenario

# The file `exclusive` has the anti-affinity of running pods: with it, no pod starts beside the old one.
KUBECTL = r"""#!/bin/sh
printf '%s\n' "$*" >> "$STATE/log"
case " $* " in
  *" apply "*)
    while [ "$1" != -f ]; do shift; done
    cp "$2" "$STATE/live"
    cat "$2" >> "$STATE/applied"
    if grep -q '"maxSurge": 0' "$2"; then : > "$STATE/exclusive"; fi ;;
  *" get deployment/coredns serviceaccount/coredns "*) cat "$STATE/there" ;;
  *"podAntiAffinity"*) [ ! -e "$STATE/deaf" ] || exit 1; cat "$STATE/exclusive" ;;
  *"volumes[*].configMap.name"*) cat "$STATE/config" ;;
  *" get pods "*) case "$*" in *coredns-probe*) cat "$STATE/probe-pods" ;; *) cat "$STATE/pods" ;; esac ;;
  *" wait "*) [ ! -e "$STATE/unready" ] ;;
  *" logs "*) printf '%s\n' "[INFO] started" "[ERROR] plugin/errors: 2 context deadline exceeded" ;;
  *" rollout status "*) [ ! -s "$STATE/exclusive" ] && [ ! -e "$STATE/broken" ] ;;
esac
"""
OLD = '{"requiredDuringSchedulingIgnoredDuringExecution":[{"topologyKey":"kubernetes.io/hostname"}]}'


@dataclass(frozen=True, kw_only=True)
class Host:
    folder: Path

    def has(self, **files: str) -> None:
        for name, text in files.items():
            (self.folder / name).write_text(text)

    def said(self, name: str) -> str:
        return (self.folder / name).read_text()

    def run(self, task: ClusterTask, port: int = 53) -> subprocess.CompletedProcess[str]:
        self.has(applied="", log="")
        (self.folder / "new").write_bytes(task.content)
        environment = {"PATH": os.environ["PATH"], "here": str(self.folder), "new": str(self.folder / "new"), "LC_ALL": "C"}
        script = task.apply.replace("/usr/local/bin/kubectl", str(self.folder / "kubectl")).replace("PORT=53 ", f"PORT={port} ")
        return subprocess.run(
            ["sh", "-eu", "-c", script],
            env={**environment, "STATE": str(self.folder)}, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip

    @property
    def applied(self) -> list[dict[str, Any]]:
        """The lists that were applied, in order."""
        text = self.said("applied")
        decoder, found = json.JSONDecoder(), []
        while text := text.strip():
            one, end = decoder.raw_decode(text)
            found.append(one)
            text = text[end:]
        return found

    def sums(self, number: int) -> set[str]:
        """The sums in a list that was applied."""
        return {item["metadata"]["annotations"]["kubewright/applied"] for item in self.applied[number]["items"]}

    def strategy(self, number: int) -> tuple[int, int]:
        (found,) = [item for item in self.applied[number]["items"] if item["kind"] == "Deployment"]
        rolling = found["spec"]["strategy"]["rollingUpdate"]
        return rolling["maxSurge"], rolling["maxUnavailable"]


@pytest.fixture
def host(tmp_path: Path) -> Host:
    made = Host(folder=tmp_path)
    made.has(kubectl=KUBECTL, exclusive="", there="deployment.apps/coredns\nserviceaccount/coredns\n")
    (tmp_path / "kubectl").chmod(0o755)
    return made


def _task(context: Context) -> ClusterTask:
    (task,) = ROLE.desired(context).tasks
    return task


def _single() -> ClusterTask:
    return _task(scenario("single").context("m1"))


def test_the_sums_are_recorded_when_the_pods_serve(host: Host) -> None:
    task = _single()
    answer = host.run(task)
    assert (answer.returncode, answer.stdout, answer.stderr) == (0, "", "")
    assert (host.sums(0), host.sums(1)) == ({BEGUN}, set(task.evidence.values()))
    begun = json.dumps(host.applied[0]).replace(BEGUN, next(iter(task.evidence.values())))
    assert begun == json.dumps(host.applied[1]), "nothing else differs, so nothing rolls twice"
    assert host.said("log").splitlines()[-1].endswith(f"-f {host.folder}/new")
    assert host.said("log").count("apply --server-side --force-conflicts --field-manager=kubewright -f ") == 2


def test_pods_that_do_not_serve_leave_the_task_due(host: Host) -> None:
    host.has(broken="")
    assert host.run(_single()).returncode == 1
    assert [host.sums(0)] == [{BEGUN}] and len(host.applied) == 1


def test_a_single_host_is_updated_from_pods_that_admit_no_second_one(host: Host) -> None:
    host.has(exclusive=OLD)
    task = _single()
    assert host.run(task).returncode == 0
    assert [host.strategy(0), host.strategy(1)] == [(0, 1), (1, 0)], "the next one has no gap"
    assert host.sums(1) == set(task.evidence.values())
    assert "scale" not in host.said("log"), "the cluster itself goes on if kubewright ends here"
    host.run(task)
    assert [host.strategy(0), host.strategy(1)] == [(1, 0), (1, 0)]


def test_an_update_that_ended_in_between_goes_on(host: Host) -> None:
    host.has(exclusive=OLD, broken="")
    assert host.run(_single()).returncode == 1
    (host.folder / "broken").unlink()
    host.has(exclusive=OLD)  # the old pod is still there
    assert host.run(_single()).returncode == 0
    assert [host.strategy(0), host.strategy(1)] == [(0, 1), (1, 0)]


def test_the_last_of_two_hosts_is_updated_too(host: Host) -> None:
    host.has(exclusive=OLD)
    context = scenario("lab").context("m1")
    plan = dataclasses.replace(context.plan, absent=frozenset({"m2", "m3", "w1", "w2"}))
    assert host.run(_task(dataclasses.replace(context, plan=plan))).returncode == 0
    assert [host.strategy(0), host.strategy(1)] == [(0, 1), (1, 0)]


def test_without_an_answer_about_the_running_pods_nothing_is_applied(host: Host) -> None:
    host.has(deaf="")
    assert host.run(_single()).returncode == 1
    assert not host.applied


def test_several_hosts_roll_as_they_are(host: Host) -> None:
    assert host.run(_task(scenario("lab").context("m1"))).returncode == 0
    assert "podAntiAffinity" not in host.said("log"), "a pod has another host to start on"
    assert [host.strategy(0), host.strategy(1)] == [(0, 1), (0, 1)]


@pytest.mark.parametrize(
    ("there", "restarts"),
    [
        ("deployment.apps/coredns\nserviceaccount/coredns\n", 0),
        ("deployment.apps/coredns\n", 1),
        ("serviceaccount/coredns\n", 0),
        ("", 0),
    ],
)
def test_pods_restart_when_their_service_account_is_made_again(host: Host, there: str, restarts: int) -> None:
    host.has(there=there)
    assert host.run(_single()).returncode == 0
    assert host.said("log").count("rollout restart") == restarts


# -- skydns: the plugin `etcd` is ready without etcd, so the pods are asked

API = f"kubernetes.default.svc.{skydns().plan.domain}"
HERE, NOWHERE = "127.0.0.1", "127.0.0.2"


def _pods(*rows: str) -> str:
    return "".join(f"{row}\n" for row in rows)


def _skydns() -> ClusterTask:
    return _task(skydns().context("m1"))


@pytest.fixture
def switching(host: Host) -> Host:
    """The pods of the provider `coredns` serve; all new ones will be at HERE."""
    host.has(config="coredns", pods=_pods(f"coredns-a {HERE} True "))
    host.has(**{"probe-pods": _pods(f"coredns-probe {HERE} True ")})
    return host


def _kinds(host: Host) -> list[list[str]]:
    return [[item["kind"] for item in one["items"]] for one in host.applied]


def test_a_switch_tries_a_pod_of_its_own_first(switching: Host) -> None:
    task = _skydns()
    with dns_server(API) as (port, asked):
        answer = switching.run(task, port)
    assert (answer.returncode, answer.stdout, answer.stderr) == (0, "", "")
    assert len(asked) == 2, "the probe, then the pod of the Deployment"
    assert _kinds(switching)[0] == ["ConfigMap", "Pod"] and [len(one) for one in _kinds(switching)[1:]] == [5, 5]
    config, pod = switching.applied[0]["items"]
    assert config["metadata"]["annotations"] == {"kubewright/applied": BEGUN}
    assert pod["metadata"]["labels"] == {"k8s-app": "coredns-probe"}, "the DNS Service does not send to it"
    assert {"name": "pki", "hostPath": {"path": "/etc/kubernetes/coredns", "type": "Directory"}} in pod["spec"]["volumes"]
    assert switching.said("log").count("delete pod coredns-probe --ignore-not-found") == 2


@pytest.mark.parametrize("known", ["another.name", ""])
def test_if_that_pod_has_no_names_the_old_ones_stay(switching: Host, known: str) -> None:
    if not known:
        switching.has(**{"probe-pods": _pods(f"coredns-probe {NOWHERE} True ")})
    with dns_server(known or API) as (port, _):
        answer = switching.run(_skydns(), port)
    assert answer.returncode == 1
    assert "CoreDNS pod coredns-probe (127.0.0." in answer.stderr and "the old pods still serve" in answer.stderr
    assert "Open TCP 2379 of the etcd hosts to all hosts and to network.pods (10.244.0.0/16)" in answer.stderr
    assert "plugin/errors: 2 context deadline exceeded" in answer.stderr and "INFO" not in answer.stderr
    assert _kinds(switching) == [["ConfigMap", "Pod"]]
    assert "delete pod coredns-probe" in switching.said("log").splitlines()[-1]


def test_if_that_pod_does_not_start_the_old_ones_stay(switching: Host) -> None:
    switching.has(unready="")
    answer = switching.run(_skydns())
    assert answer.returncode == 1
    assert "CoreDNS does not start with dns_provider skydns; the old pods still serve" in answer.stderr
    assert _kinds(switching) == [["ConfigMap", "Pod"]]
    assert "delete pod coredns-probe" in switching.said("log").splitlines()[-1]


@pytest.mark.parametrize("config", ["", "coredns-skydns"])
def test_without_pods_of_the_other_provider_none_is_tried(switching: Host, config: str) -> None:
    switching.has(config=config)
    with dns_server(API) as (port, asked):
        assert switching.run(_skydns(), port).returncode == 0
    assert len(asked) == 1 and "coredns-probe" not in switching.said("log")


def test_each_pod_that_does_not_read_etcd_is_named_and_the_task_stays_due(switching: Host) -> None:
    rows = _pods(f"coredns-a {HERE} True ", f"coredns-b {NOWHERE} True ", f"coredns-c {NOWHERE} False ", "coredns-d   ")
    switching.has(config="coredns-skydns", pods=rows + _pods(f"coredns-e {NOWHERE} True 2026-01-01T00:00:00Z"))
    with dns_server(API) as (port, _):
        answer = switching.run(_skydns(), port)
    assert answer.returncode == 1
    assert [word for word in answer.stderr.split() if word.startswith("coredns-")] == ["coredns-b"], "others end or start"
    assert switching.sums(-1) == {BEGUN}


def test_under_coredns_no_pod_is_asked() -> None:
    assert "reads" not in _single().apply and "coredns-probe" not in _single().apply
