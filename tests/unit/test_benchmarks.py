"""The benchmarks compute the same as a run, and they work."""

from __future__ import annotations

from pathlib import Path

import pytest

import benchmarks.__main__ as program
from benchmarks import clusters, compute_run, figures, plans
from benchmarks.figures import Figure, Missing
from benchmarks.processes import run
from kubewright.artifacts import Bundle
from kubewright.releases import DEFAULT


def test_a_small_cluster_goes_from_spec_to_changes_and_back_to_none(tmp_path: Path) -> None:
    measured = compute_run.compute(5, tmp_path)
    assert measured["lines"] > 5 * 30 and compute_run.FIREWALLD in measured


def test_the_shared_layer_has_the_payloads_of_masters_and_workers(tmp_path: Path) -> None:
    bundle: Bundle = clusters.bundle(DEFAULT, "amd64")
    names = {Path(payload.path).name for payload in plans._payloads(bundle, tmp_path)}
    assert {"kube-apiserver", "etcd", "kubelet", "pause.tar"} <= names


def test_a_figure_that_misses_its_aim_fails_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(figures, "RESULTS", tmp_path)
    slow = Figure(group="g", name="slow", samples=(900.0,), against="aim", base=1.0)
    monkeypatch.setattr(program, "PARTS", {"one": lambda _given: iter([slow])})
    assert program.main(["one"]) == 0
    assert len(list(tmp_path.glob("*.json"))) == 1


def test_figures_before_a_failure_are_kept_and_the_failure_is_reported(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(figures, "RESULTS", tmp_path)

    def broken(_given: object) -> object:
        yield Figure(group="g", name="kept", samples=(1.0,))
        raise RuntimeError("no lab [here]")

    monkeypatch.setattr(program, "PARTS", {"one": broken})
    assert program.main([]) == 1
    assert "kept" in (said := capsys.readouterr().out) and "no lab [here]" in said


def test_an_unknown_part_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        program.main(["nothing"])
    assert "there are start, computing" in capsys.readouterr().err


def test_a_program_that_fails_says_why() -> None:
    with pytest.raises(RuntimeError, match="3: it went wrong"):
        run("sh", "-c", "echo it went wrong >&2; exit 3")


def test_a_group_not_measured_has_its_reason_in_the_table() -> None:
    assert figures.table([], [Missing(group="plans", reason="not root")]).row_count == 2
