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
from roles.coredns.role import BEGUN, ROLE
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

    def run(self, task: ClusterTask) -> subprocess.CompletedProcess[str]:
        self.has(applied="", log="")
        (self.folder / "new").write_bytes(task.content)
        environment = {"PATH": os.environ["PATH"], "here": str(self.folder), "new": str(self.folder / "new"), "LC_ALL": "C"}
        return subprocess.run(
            ["sh", "-eu", "-c", task.apply.replace("/usr/local/bin/kubectl", str(self.folder / "kubectl"))],
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
