"""The summary of a run: its steps are waves, and a wave of several roles has the changes of all of them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from deploy.waves import CLUSTER, ROLES
from kubewright.cli.progress import Progress
from kubewright.plan.leftovers import LEFTOVERS, RECORD
from kubewright.run.run import ISSUED
from kubewright.run.steps import step_of, steps
from kubewright.verbs.apply import Summary


def _table(folder: Path, capsys: pytest.CaptureFixture[str], **given: object) -> dict[str, list[str]]:
    """The rows of the table, by step."""
    whole: dict[str, object] = {
        "changed": {("kubelet", "m1"): ("write /etc/x",)}, "undone": {}, "unmanaged": (), "without": (), "total": 1.0,
        "commands": {"m1": 3}, "sent": {"m1": 0}, "failure": None,
    }  # fmt: skip
    with Progress(folder) as progress:
        progress.summary(Summary(**{**whole, **given}), "kubewright apply")  # type: ignore[arg-type]
    rows = (re.split(r"\s{2,}", line.strip()) for line in capsys.readouterr().out.splitlines() if not line.startswith("1.0 s"))
    return {step: rest for step, *rest in rows}


def test_every_role_and_what_is_issued_belong_to_a_step_of_the_run() -> None:
    found = step_of(CLUSTER)
    assert set(found) == {RECORD.name, LEFTOVERS.name, ISSUED, *(role.name for role in ROLES)}
    assert set(found.values()) <= {step.title for step in steps(CLUSTER)}
    assert (found["flannel"], found["kube_proxy"], found["etcd"], found[ISSUED]) == ("kubelets", "kubelets", "etcd", "begin")


def test_add_ons_come_after_the_removal_of_leftovers_since_a_broken_one_ends_the_run() -> None:
    assert [step.title for step in steps(CLUSTER)][-3:] == [LEFTOVERS.name, "addons", "end"]


def test_a_step_is_shown_with_its_changes_and_without_them_only_when_it_took_time(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    seconds = {"connect": 0.2, "begin": 0.04, "kubelets": 1.5, "nodes": 0.01, "coredns": 0.02}
    assert _table(tmp_path, capsys, seconds=seconds, counts={"kubelets": 5, "coredns": 1}) == {
        "step": ["seconds", "changes"],
        "connect": ["0.2"],
        "kubelets": ["1.5", "5"],
        "coredns": ["0.0", "1"],
    }
