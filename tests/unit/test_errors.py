"""The text of a problem."""

from __future__ import annotations

from kubewright.errors import Problem


def test_a_problem_labels_what_is_allowed() -> None:
    problem = Problem(where="cluster.yaml:4", what="not a port (0)", allowed="1 to 65535", todo="choose 6443")
    assert str(problem) == "cluster.yaml:4: not a port (0); allowed: 1 to 65535; choose 6443"


def test_a_problem_without_anything_allowed_has_no_label() -> None:
    problem = Problem(where="m1", what="SSH does not answer", allowed="", todo="start it")
    assert str(problem) == "m1: SSH does not answer; start it"
